package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newCheckCommand() *cobra.Command {
	var config configFile
	cmd := &cobra.Command{
		Use: "check", Short: "Check a configuration and say what it would do.",
		RunE: func(cmd *cobra.Command, _ []string) error { return check(config, cmd.OutOrStdout()) },
	}
	config.flag(cmd.Flags())
	return cmd
}

func check(config configFile, out io.Writer) error {
	cfg, err := config.load()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is good.\n", config)
	fmt.Fprintf(&b, "  data in %s; agents connect to %s as %s; page on http://%s/\n",
		cfg.DataDir, cfg.Listen, strings.Join(cfg.Hosts, ", "), cfg.Web.Listen)
	if len(cfg.Jobs) == 0 {
		b.WriteString("  no jobs: gateways enrol and are watched, nothing is learned together\n")
	}
	for _, j := range cfg.Jobs {
		j = j.WithDefaults()
		fmt.Fprintf(&b, "  job %s (%s): model %s of %d features for class %s, a round every %v with %d or more gateways\n",
			j.Name, j.Role, j.Model.Kind, len(j.Features.Names()), j.Class, j.Rounds.Every, j.Rounds.MinParticipants)
	}
	_, err = io.WriteString(out, b.String())
	return err
}
