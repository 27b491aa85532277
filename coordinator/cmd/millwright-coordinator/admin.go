package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Let gateways enrol."}
	cmd.AddCommand(newTokenCreateCommand())
	return cmd
}

func newTokenCreateCommand() *cobra.Command {
	var config configFile
	var o enrol.TokenOptions
	cmd := &cobra.Command{
		Use: "create", Short: "Print a new enrolment token. The coordinator must be running.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return createToken(cmd.Context(), config, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	config.flag(cmd.Flags())
	cmd.Flags().DurationVar(&o.TTL, "ttl", 24*time.Hour, "How long it may be used.")
	cmd.Flags().IntVar(&o.Uses, "uses", 1, "How many gateways may enrol with it.")
	cmd.Flags().StringVar(&o.Gateway, "gateway", "", "The only `gateway` it enrols; that name may be enrolled already (a new box in its place).")
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "Let it enrol any name that is enrolled already; the certificates issued before stop working.")
	return cmd
}

// createToken prints the token to out and what to do with it to hints.
func createToken(ctx context.Context, config configFile, o enrol.TokenOptions, out, hints io.Writer) error {
	cfg, err := config.load()
	if err != nil {
		return err
	}
	// Zero would mean the default further down.
	if o.TTL <= 0 || o.Uses <= 0 {
		return cli.Usage(fmt.Errorf("--ttl and --uses must be greater than 0, got %v and %d", o.TTL, o.Uses))
	}
	text, err := enrol.NewAdmin(cfg.DataDir).CreateToken(ctx, o)
	if err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	whom := "one gateway"
	switch {
	case o.Gateway != "":
		whom = "gateway " + o.Gateway
	case o.Uses > 1:
		whom = fmt.Sprintf("%d gateways", o.Uses)
	}
	_, err = fmt.Fprintf(hints, "This token enrols %s until %s. Put it into the agent's configuration:\n\n  coordinator:\n    address: %s\n    token: <the token>\n\n",
		whom, time.Now().Add(o.TTL).Format("2006-01-02 15:04 MST"), addressHint(cfg.Hosts, cfg.Listen))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// addressHint guesses what an agent elsewhere should connect to: the first host
// that is not this machine's private name for itself.
func addressHint(hosts []string, listen string) string {
	host := hosts[0]
	for _, h := range hosts {
		if h != "localhost" && !strings.HasPrefix(h, "127.") && h != "::1" {
			host = h
			break
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := listen[strings.LastIndex(listen, ":")+1:]
	if port == "0" {
		port = "<port>" // chosen at each start; see the log
	}
	return host + ":" + port
}

func newGatewayCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "gateway", Short: "Look after enrolled gateways."}
	cmd.AddCommand(newGatewayListCommand(), newGatewayRemoveCommand())
	return cmd
}

func newGatewayListCommand() *cobra.Command {
	var config configFile
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the enrolled gateways. The coordinator must be running.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listGateways(cmd.Context(), config, asJSON, cmd.OutOrStdout())
		},
	}
	config.flag(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "As JSON.")
	return cmd
}

func listGateways(ctx context.Context, config configFile, asJSON bool, out io.Writer) error {
	cfg, err := config.load()
	if err != nil {
		return err
	}
	list, err := enrol.NewAdmin(cfg.DataDir).Gateways(ctx)
	if err != nil {
		return fmt.Errorf("list gateways: %w", err)
	}
	if asJSON {
		return printJSON(out, list)
	}
	var b strings.Builder
	b.WriteString("GATEWAY\tENROLLED\tCERTIFICATE UNTIL\n")
	for _, g := range list {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", g.Name, g.Enrolled.Format(time.DateOnly), g.CertExpires.Format(time.DateOnly))
	}
	return printTable(out, b.String())
}

func newGatewayRemoveCommand() *cobra.Command {
	var config configFile
	cmd := &cobra.Command{
		Use: "remove <name>", Short: "Refuse a gateway's certificate from now on. The coordinator must be running.",
		Args: cli.Args("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return removeGateway(cmd.Context(), config, args[0], cmd.ErrOrStderr())
		},
	}
	config.flag(cmd.Flags())
	return cmd
}

func removeGateway(ctx context.Context, config configFile, name string, out io.Writer) error {
	cfg, err := config.load()
	if err != nil {
		return err
	}
	if err := enrol.CheckGatewayName(name); err != nil {
		return cli.Usage(err)
	}
	if err := enrol.NewAdmin(cfg.DataDir).Remove(ctx, name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Gateway %s is removed. To bring it back, create a token for it.\n", name)
	return err
}
