package main

import (
	"context"
	"fmt"
	"io"

	"github.com/millwright-iot/millwright/agent"
)

type checkCmd struct {
	configFlag
	Offline bool `help:"Look at the file alone; try nothing that it names."`
}

// Run is called by kong.
func (c *checkCmd) Run(out io.Writer) error {
	if c.Offline {
		cfg, err := agent.LoadConfig(c.Config)
		if err != nil {
			return &usageError{err}
		}
		fmt.Fprintf(out, "%s is good.\n%s", c.Config, cfg.Summary())
		return nil
	}
	cfg, good, ok, err := agent.Check(context.Background(), c.Config)
	if !ok {
		return &usageError{err}
	}
	fmt.Fprintf(out, "%s is good.\n%s", c.Config, cfg.Summary())
	for _, line := range good {
		fmt.Fprintf(out, "ok: %s\n", line)
	}
	return err // what was tried and failed
}
