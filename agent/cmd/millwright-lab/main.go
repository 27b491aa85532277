// Command millwright-lab evaluates on recorded data the code that runs on the
// gateway.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"github.com/alecthomas/kong"

	"github.com/millwright-iot/millwright/agent/lab"
)

type cli struct {
	Eval  evalCommand  `cmd:"" help:"Evaluate the models on a public dataset."`
	Swarm swarmCommand `cmd:"" help:"Load a coordinator with many light agents."`
}

type evalCommand struct {
	Dataset string `required:"" enum:"skab" help:"Dataset: skab."`
	Data    string `required:"" type:"existingdir" help:"Folder of the dataset, or of one of its groups."`
	JSON    bool   `help:"Print JSON instead of a table."`
}

// Run evaluates and prints.
func (c *evalCommand) Run(ctx context.Context) error {
	files, err := lab.FindSKAB(c.Data)
	if err != nil {
		return err
	}
	report, err := lab.EvaluateSKAB(ctx, files)
	if err != nil {
		return err
	}
	if !c.JSON {
		return report.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(report); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var c cli
	k := kong.Parse(&c, kong.Name("millwright-lab"), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}
