package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/coordinator"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newForgetCommand() *cobra.Command {
	var which whichJob
	cmd := &cobra.Command{
		Use: "forget <gateway>", Short: "Take out of the models what a gateway contributed. The coordinator must be running.",
		Args: cli.Args("gateway"),
		RunE: func(cmd *cobra.Command, args []string) error {
			which.gateway = args[0]
			return forget(cmd.Context(), which, cmd.ErrOrStderr())
		},
	}
	which.flags(cmd.Flags())
	return cmd
}

func forget(ctx context.Context, which whichJob, out io.Writer) error {
	cfg, err := which.load()
	if err != nil {
		return err
	}
	results, err := coordinator.NewAdmin(cfg.DataDir).Forget(ctx, which.gateway, which.job)
	if err != nil {
		return fmt.Errorf("forget gateway %s: %w", which.gateway, err)
	}
	var b strings.Builder
	versions := false
	for _, r := range results {
		b.WriteString(forgotten(which.gateway, r))
		versions = versions || r.Version > 0
	}
	if versions {
		b.WriteString("Older versions of the model still contain it; they are deleted as newer ones take their place (keep.models).\n")
	}
	fmt.Fprintf(&b, "Gateway %s stays enrolled and takes part again; to keep it out, also run: millwright-coordinator gateway remove %s\n", which.gateway, which.gateway)
	_, err = io.WriteString(out, b.String())
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
