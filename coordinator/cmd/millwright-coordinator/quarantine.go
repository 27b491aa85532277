package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/millwright-iot/millwright/coordinator"
	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
)

type quarantineCmd struct {
	List    quarantineListCmd    `cmd:"" help:"List the gateways whose updates do not count, and why. The coordinator must be running."`
	Release quarantineReleaseCmd `cmd:"" help:"Let a gateway's updates count again, from its next one on. The coordinator must be running."`
}

type quarantineListCmd struct {
	configFlag
	JSON bool `help:"As JSON."`
}

// Run is called by kong.
func (c *quarantineListCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	list, err := coordinator.NewAdmin(cfg.DataDir).Quarantine(context.Background())
	if err != nil {
		return fmt.Errorf("list quarantine: %w", err)
	}
	if c.JSON {
		return printJSON(std.out, list)
	}
	var b strings.Builder
	b.WriteString("JOB\tGATEWAY\tSINCE ROUND\tCLEAN ROUNDS\tREASON\n")
	for _, q := range list {
		clean := fmt.Sprintf("%d of %d", q.Clean, q.ReleaseAfter)
		if q.ReleaseAfter == 0 {
			clean = fmt.Sprint(q.Clean)
		}
		fmt.Fprintf(&b, "%s\t%s\t%d\t%s\t%s\n", q.Job, q.Gateway, q.Round, clean, q.Reason)
	}
	return printTable(std.out, b.String())
}

// whichJob is the gateway and job that a command is about.
type whichJob struct {
	configFlag
	Gateway string `arg:"" help:"The gateway's name."`
	Job     string `help:"Only this job; all jobs if left out." placeholder:"NAME"`
}

func (c *whichJob) load() (coordinator.Config, error) {
	cfg, err := c.configFlag.load()
	if err != nil {
		return cfg, err
	}
	if err := enrol.CheckGatewayName(c.Gateway); err != nil {
		return cfg, &usageError{err}
	}
	return cfg, nil
}

type quarantineReleaseCmd struct{ whichJob }

// Run is called by kong.
func (c *quarantineReleaseCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	jobs, err := coordinator.NewAdmin(cfg.DataDir).Release(context.Background(), c.Gateway, c.Job)
	if err != nil {
		return fmt.Errorf("release gateway %s: %w", c.Gateway, err)
	}
	if len(jobs) == 0 {
		return fmt.Errorf("gateway %s is not in quarantine; see `millwright-coordinator quarantine list`", c.Gateway)
	}
	_, err = fmt.Fprintf(std.err, "Gateway %s is released in %s. Its next update counts, unless it fails the checks again.\n", c.Gateway, strings.Join(jobs, ", "))
	return err
}

type forgetCmd struct{ whichJob }

// Run is called by kong.
func (c *forgetCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	results, err := coordinator.NewAdmin(cfg.DataDir).Forget(context.Background(), c.Gateway, c.Job)
	if err != nil {
		return fmt.Errorf("forget gateway %s: %w", c.Gateway, err)
	}
	var b strings.Builder
	versions := false
	for _, r := range results {
		b.WriteString(forgotten(c.Gateway, r))
		versions = versions || r.Version > 0
	}
	if versions {
		b.WriteString("Older versions of the model still contain it; they are deleted as newer ones take their place (keep.models).\n")
	}
	fmt.Fprintf(&b, "Gateway %s stays enrolled and takes part again; to keep it out, also run: millwright-coordinator gateway remove %s\n", c.Gateway, c.Gateway)
	_, err = io.WriteString(std.err, b.String())
	return err
}

// forgotten says what became of one job, and what cannot be undone.
func forgotten(gateway string, r coordinator.Forgotten) string {
	switch {
	case r.Version > 0:
		return fmt.Sprintf("Job %s: version %d is made of the %d other gateways' sums, as if %s had never taken part.\n", r.Job, r.Version, r.Contributors, gateway)
	case r.Exact && r.Removed:
		return fmt.Sprintf("Job %s: the update waiting in the open round is removed; the model held nothing of %s.\n", r.Job, gateway)
	case r.Exact:
		return fmt.Sprintf("Job %s: holds nothing of %s.\n", r.Job, gateway)
	}
	waiting := "no update of it was waiting"
	if r.Removed {
		waiting = "the update waiting in the open round is removed"
	}
	return fmt.Sprintf("Job %s: %s. It learns by gradient: what %s taught the versions committed so far cannot be taken out; to be rid of it, start the job afresh (change its seed).\n",
		r.Job, waiting, gateway)
}
