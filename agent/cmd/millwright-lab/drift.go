package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/millwright-iot/millwright/agent/lab/drift"
)

type driftCommand struct {
	Years int  `default:"10" help:"Machine-years of hourly scores for each process."`
	JSON  bool `help:"Print JSON instead of a table."`
}

// Run measures and prints.
func (c *driftCommand) Run(ctx context.Context) error {
	report, err := drift.Measure(ctx, c.Years)
	if err != nil {
		return err
	}
	if !c.JSON {
		return report.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(report)
}
