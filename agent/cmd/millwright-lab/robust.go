package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/millwright-iot/millwright/agent/lab/robust"
)

type robustCommand struct {
	Gateways  int    `default:"24" help:"Gateways, honest and lying."`
	Attackers int    `default:"4" help:"How many of them lie."`
	Rounds    int    `default:"8" help:"Rounds."`
	Seed      uint64 `default:"1" help:"Of data, training and attacks."`
	JSON      bool   `help:"Print JSON instead of a table."`
}

// Run measures every attack against every strategy and prints the table.
func (c *robustCommand) Run(ctx context.Context) error {
	result, err := robust.Run(ctx, robust.Config{Gateways: c.Gateways, Attackers: c.Attackers, Rounds: c.Rounds, Seed: c.Seed})
	if err != nil {
		return err
	}
	if !c.JSON {
		return result.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(result); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}
