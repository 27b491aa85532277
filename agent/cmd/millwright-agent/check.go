package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newCheckCommand() *cobra.Command {
	var config string
	var offline bool
	cmd := &cobra.Command{
		Use: "check", Short: "Check a configuration, try everything it names, and say what it would do.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(cmd.Context(), config, offline, cmd.OutOrStdout())
		},
	}
	configFlag(cmd.Flags(), &config)
	cmd.Flags().BoolVar(&offline, "offline", false, "Look at the file alone; try nothing that it names.")
	return cmd
}

func check(ctx context.Context, config string, offline bool, out io.Writer) error {
	if offline {
		cfg, err := agent.LoadConfig(config)
		if err != nil {
			return cli.Usage(err)
		}
		fmt.Fprintf(out, "%s is good.\n%s", config, cfg.Summary())
		return nil
	}
	cfg, good, ok, err := agent.Check(ctx, config)
	if !ok {
		return cli.Usage(err)
	}
	fmt.Fprintf(out, "%s is good.\n%s", config, cfg.Summary())
	for _, line := range good {
		fmt.Fprintf(out, "ok: %s\n", line)
	}
	return err // what was tried and failed
}
