package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millwright-iot/millwright/agent/lab"
)

type chooseCommand struct {
	Job    string `required:"" type:"existingfile" help:"Job as in the coordinator's configuration, one, with candidates: a list of name, model and strategy."`
	Data   string `required:"" type:"existingdir" help:"Folder of recordings that millwright-agent record wrote, of two machines or more."`
	Labels string `type:"path" help:"Labels, one a line, as POST /api/v1/labels takes them; default: labels.jsonl in the folder."`
	Groups int    `help:"Also try a model for each group of machines that differ, up to so many groups. Then the first half of a machine's windows says to which it belongs, and the second judges." placeholder:"N"`
	JSON   bool   `help:"Print JSON instead of a table."`
}

// Run compares the job's candidates and prints the choice.
func (c *chooseCommand) Run(ctx context.Context) error {
	j, err := lab.LoadCandidateJob(c.Job)
	if err != nil {
		return err
	}
	if c.Labels == "" {
		c.Labels = filepath.Join(c.Data, "labels.jsonl")
	}
	result, err := lab.Choose(ctx, j, lab.ChooseOptions{Data: c.Data, Labels: c.Labels, Groups: c.Groups})
	if err != nil {
		return err
	}
	if !c.JSON {
		return result.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(result); err != nil {
		return fmt.Errorf("print choice: %w", err)
	}
	return nil
}
