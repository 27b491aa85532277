package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/lab/robust"
)

func newRobustCommand() *cobra.Command {
	c := robust.DefaultConfig()
	var asJSON bool
	cmd := &cobra.Command{
		Use: "robust", Short: "Measure what lying gateways do to each strategy, with and without verification.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return measureAttacks(cmd.Context(), c, asJSON, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.Gateways, "gateways", c.Gateways, "Gateways, honest and lying.")
	f.IntVar(&c.Attackers, "attackers", c.Attackers, "How many of them lie.")
	f.IntVar(&c.Rounds, "rounds", c.Rounds, "Rounds.")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "Of data, training and attacks.")
	jsonFlag(f, &asJSON)
	return cmd
}

// measureAttacks measures every attack against every strategy.
func measureAttacks(ctx context.Context, c robust.Config, asJSON bool, out io.Writer) error {
	result, err := robust.Run(ctx, c)
	if err != nil {
		return err
	}
	return show(out, result, asJSON)
}
