package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/lab"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

type chooseOptions struct {
	job, data, labels string
	groups            int
	json              bool
}

func newChooseCommand() *cobra.Command {
	var o chooseOptions
	cmd := &cobra.Command{
		Use: "choose --job FILE --data FOLDER", Short: "Compare the candidate models of a job on recorded machines, and choose one.",
		RunE: func(cmd *cobra.Command, _ []string) error { return choose(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.job, "job", "", "Job as in the coordinator's configuration, one, with candidates: a list of name, model and strategy.")
	f.StringVar(&o.data, "data", "", "`Folder` of recordings that millwright-agent record wrote, of two machines or more.")
	cli.Require(cmd, "job", "data")
	f.StringVar(&o.labels, "labels", "", "Labels, one a line, as POST /api/v1/labels takes them; default: labels.jsonl in the folder.")
	f.IntVar(&o.groups, "groups", 0, "Also try a model for each group of machines that differ, up to so many groups. Then the first half of a machine's windows says to which it belongs, and the second judges.")
	jsonFlag(f, &o.json)
	return cmd
}

func choose(ctx context.Context, o chooseOptions, out io.Writer) error {
	if err := errors.Join(cli.ExistingFile("--job", o.job), cli.ExistingFolder("--data", o.data)); err != nil {
		return err
	}
	j, err := lab.LoadCandidateJob(o.job)
	if err != nil {
		return err
	}
	if o.labels == "" {
		o.labels = filepath.Join(o.data, "labels.jsonl")
	}
	result, err := lab.Choose(ctx, j, lab.ChooseOptions{Data: o.data, Labels: o.labels, Groups: o.groups})
	if err != nil {
		return err
	}
	return show(out, result, o.json)
}
