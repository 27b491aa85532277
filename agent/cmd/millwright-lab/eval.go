package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/lab"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

type evalOptions struct {
	dataset, data, html string
	json                bool
}

func newEvalCommand() *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use: "eval --dataset NAME --data FOLDER", Short: "Evaluate the models on a public dataset.",
		RunE: func(cmd *cobra.Command, _ []string) error { return evaluate(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	var names []string
	for _, d := range lab.Datasets() {
		names = append(names, d.Name)
	}
	f := cmd.Flags()
	cli.OneOf(f, &o.dataset, "dataset", "", "Dataset:", names...)
	f.StringVar(&o.data, "data", "", "`Folder` of the dataset, or of one of its groups.")
	cli.Require(cmd, "dataset", "data")
	jsonFlag(f, &o.json)
	f.StringVar(&o.html, "html", "", "Also write a report with plots, one self-contained `file`.")
	return cmd
}

func evaluate(ctx context.Context, o evalOptions, out io.Writer) error {
	result, err := lab.Evaluate(ctx, o.dataset, o.data)
	if err != nil {
		return err
	}
	if o.html != "" {
		if err := writePage(o.html, result); err != nil {
			return err
		}
	}
	return show(out, result, o.json)
}

// writePage writes the report to a file.
func writePage(path string, result lab.Result) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := errors.Join(result.Page().Write(f), f.Close()); err != nil {
		return fmt.Errorf("write report %s: %w", path, err)
	}
	return nil
}
