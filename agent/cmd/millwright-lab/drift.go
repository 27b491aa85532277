package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/lab/drift"
)

func newDriftCommand() *cobra.Command {
	var years int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "drift", Short: "Measure how often monitors find drift where there is none, and how long they take where there is.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return measureDrift(cmd.Context(), years, asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&years, "years", 10, "Machine-years of hourly scores for each process.")
	jsonFlag(cmd.Flags(), &asJSON)
	return cmd
}

func measureDrift(ctx context.Context, years int, asJSON bool, out io.Writer) error {
	report, err := drift.Measure(ctx, years)
	if err != nil {
		return err
	}
	return show(out, report, asJSON)
}
