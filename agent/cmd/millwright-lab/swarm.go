package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millwright-iot/millwright/agent/lab/swarm"
)

type swarmCommand struct {
	Agents      int    `default:"2000" help:"Light agents, all in this process."`
	Params      int    `default:"10000" help:"Parameters of the model, about."`
	Rounds      int    `default:"3" help:"Committed rounds."`
	Coordinator string `help:"The millwright-coordinator command; default: beside this one." type:"path"`
	Dir         string `help:"Folder for all files, left behind; default: a temporary one, removed." type:"path"`
	JSON        bool   `help:"Print JSON instead of a table."`
}

// Run loads a coordinator and prints what it cost.
func (c *swarmCommand) Run(ctx context.Context) error {
	if c.Coordinator == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the coordinator's command: %w; name it with --coordinator", err)
		}
		c.Coordinator = filepath.Join(filepath.Dir(self), "millwright-coordinator")
	}
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "millwright-swarm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c.Dir = dir
	}
	result, err := swarm.Run(ctx, swarm.Config{
		Agents: c.Agents, Params: c.Params, Rounds: c.Rounds, Coordinator: c.Coordinator, Dir: c.Dir, Progress: os.Stderr,
	})
	if err != nil {
		return err
	}
	if !c.JSON {
		return result.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(result)
}
