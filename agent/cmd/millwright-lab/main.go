// Command millwright-lab evaluates on recorded data the code that runs on the
// gateway.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/millwright-iot/millwright/agent/lab"
)

type cli struct {
	Eval   evalCommand   `cmd:"" help:"Evaluate the models on a public dataset."`
	Choose chooseCommand `cmd:"" help:"Compare the candidate models of a job on recorded machines, and choose one."`
	Swarm  swarmCommand  `cmd:"" help:"Load a coordinator with many light agents."`

	Robust robustCommand `cmd:"" help:"Measure what lying gateways do to each strategy, with and without verification."`
	Drift  driftCommand  `cmd:"" help:"Measure how often monitors find drift where there is none, and how long they take where there is."`
}

type evalCommand struct {
	Dataset string `required:"" enum:"${datasets}" help:"Dataset: ${datasets}."`
	Data    string `required:"" type:"path" help:"Folder of the dataset, or of one of its groups."`
	JSON    bool   `help:"Print JSON instead of a table."`
	HTML    string `type:"path" placeholder:"FILE" help:"Also write a report with plots, one self-contained file."`
}

// Run evaluates and prints.
func (c *evalCommand) Run(ctx context.Context) error {
	result, err := lab.Evaluate(ctx, c.Dataset, c.Data)
	if err != nil {
		return err
	}
	if c.HTML != "" {
		if err := writePage(c.HTML, result); err != nil {
			return err
		}
	}
	if !c.JSON {
		return result.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(result); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
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

// datasets lists the names of what can be evaluated, for the command line.
func datasets() string {
	var names []string
	for _, d := range lab.Datasets() {
		names = append(names, d.Name)
	}
	return strings.Join(names, ",")
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var c cli
	k := kong.Parse(&c, kong.Name("millwright-lab"), kong.UsageOnError(), kong.Vars{"datasets": datasets()}, kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}
