package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millwright-iot/millwright/coordinator"
	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newQuarantineCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "quarantine", Short: "Look after gateways whose updates do not count."}
	cmd.AddCommand(newQuarantineListCommand(), newQuarantineReleaseCommand())
	return cmd
}

func newQuarantineListCommand() *cobra.Command {
	var config configFile
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the gateways whose updates do not count, and why. The coordinator must be running.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listQuarantine(cmd.Context(), config, asJSON, cmd.OutOrStdout())
		},
	}
	config.flag(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "As JSON.")
	return cmd
}

func listQuarantine(ctx context.Context, config configFile, asJSON bool, out io.Writer) error {
	cfg, err := config.load()
	if err != nil {
		return err
	}
	list, err := coordinator.NewAdmin(cfg.DataDir).Quarantine(ctx)
	if err != nil {
		return fmt.Errorf("list quarantine: %w", err)
	}
	if asJSON {
		return printJSON(out, list)
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
	return printTable(out, b.String())
}

// whichJob is the gateway and job that a command is about.
type whichJob struct {
	config       configFile
	gateway, job string
}

func (w *whichJob) flags(f *pflag.FlagSet) {
	w.config.flag(f)
	f.StringVar(&w.job, "job", "", "Only this `job`; all jobs if left out.")
}

func (w *whichJob) load() (coordinator.Config, error) {
	cfg, err := w.config.load()
	if err != nil {
		return cfg, err
	}
	if err := enrol.CheckGatewayName(w.gateway); err != nil {
		return cfg, cli.Usage(err)
	}
	return cfg, nil
}

func newQuarantineReleaseCommand() *cobra.Command {
	var which whichJob
	cmd := &cobra.Command{
		Use: "release <gateway>", Short: "Let a gateway's updates count again, from its next one on. The coordinator must be running.",
		Args: cli.Args("gateway"),
		RunE: func(cmd *cobra.Command, args []string) error {
			which.gateway = args[0]
			return release(cmd.Context(), which, cmd.ErrOrStderr())
		},
	}
	which.flags(cmd.Flags())
	return cmd
}

func release(ctx context.Context, which whichJob, out io.Writer) error {
	cfg, err := which.load()
	if err != nil {
		return err
	}
	jobs, err := coordinator.NewAdmin(cfg.DataDir).Release(ctx, which.gateway, which.job)
	if err != nil {
		return fmt.Errorf("release gateway %s: %w", which.gateway, err)
	}
	if len(jobs) == 0 {
		return fmt.Errorf("gateway %s is not in quarantine; see `millwright-coordinator quarantine list`", which.gateway)
	}
	_, err = fmt.Fprintf(out, "Gateway %s is released in %s. Its next update counts, unless it fails the checks again.\n", which.gateway, strings.Join(jobs, ", "))
	return err
}
