package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/lab/swarm"
)

func newSwarmCommand() *cobra.Command {
	var c swarm.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use: "swarm", Short: "Load a coordinator with many light agents.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Progress = cmd.ErrOrStderr()
			return loadCoordinator(cmd.Context(), c, asJSON, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.Agents, "agents", 2000, "Light agents, all in this process.")
	f.IntVar(&c.Params, "params", 10000, "Parameters of the model, about.")
	f.IntVar(&c.Rounds, "rounds", 3, "Committed rounds.")
	f.StringVar(&c.Coordinator, "coordinator", "", "The millwright-coordinator `command`; default: beside this one.")
	f.StringVar(&c.Dir, "dir", "", "`Folder` for all files, left behind; default: a temporary one, removed.")
	jsonFlag(f, &asJSON)
	return cmd
}

// loadCoordinator loads a coordinator and prints what it cost.
func loadCoordinator(ctx context.Context, c swarm.Config, asJSON bool, out io.Writer) error {
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
	result, err := swarm.Run(ctx, c)
	if err != nil {
		return err
	}
	return show(out, result, asJSON)
}
