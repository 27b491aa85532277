package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/agent/internal/trial"
)

type testCmd struct {
	configFlag
	Channel  string        `help:"Try this channel only, as machine/channel." placeholder:"MACHINE/CHANNEL"`
	Every    time.Duration `help:"Time between two payloads that tell no time." default:"1s"`
	Baseline int           `help:"Windows of the baseline, instead of those configured, so that a short recording is scored."`
	Files    []string      `arg:"" help:"Payloads, one message a file, or recordings, in order." type:"existingfile"`
}

// Run is called by kong.
func (c *testCmd) Run(out io.Writer) error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return &usageError{err}
	}
	t, err := trial.New(cfg, trial.Options{Channel: c.Channel, Every: c.Every, Baseline: c.Baseline}, out)
	if err != nil {
		return &usageError{err}
	}
	var errs []error
	for _, f := range c.Files {
		if err := t.File(f); err != nil {
			errs = append(errs, fmt.Errorf("try %s: %w", f, err))
		}
	}
	return errors.Join(append(errs, t.Finish())...)
}
