package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/agent/internal/trial"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newTestCommand() *cobra.Command {
	var config string
	var o trial.Options
	cmd := &cobra.Command{
		Use: "test <files>...", Short: "Show what the agent would make of payloads or recordings.",
		Long: "Show what the agent would make of payloads, one message a file, or recordings, in order.",
		Args: cli.Args("files..."),
		RunE: func(cmd *cobra.Command, files []string) error {
			return try(cmd.Context(), config, o, files, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	configFlag(f, &config)
	f.StringVar(&o.Channel, "channel", "", "Try this channel only, as `machine/channel`.")
	f.DurationVar(&o.Every, "every", time.Second, "Time between two payloads that tell no time.")
	f.IntVar(&o.Baseline, "baseline", 0, "Windows of the baseline, instead of those configured, so that a short recording is scored.")
	return cmd
}

func try(ctx context.Context, config string, o trial.Options, files []string, out io.Writer) error {
	for _, f := range files {
		if err := cli.ExistingFile("<files>", f); err != nil {
			return err
		}
	}
	cfg, err := agent.LoadConfig(config)
	if err != nil {
		return cli.Usage(err)
	}
	t, err := trial.New(cfg, o, out)
	if err != nil {
		return cli.Usage(err)
	}
	var errs []error
	for _, f := range files {
		if err := t.File(ctx, f); err != nil {
			errs = append(errs, fmt.Errorf("try %s: %w", f, err))
		}
	}
	return errors.Join(append(errs, t.Finish())...)
}
