package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newWithdrawCommand() *cobra.Command {
	var a agentAddress
	cmd := &cobra.Command{
		Use: "withdraw <id>", Short: "Take a label back.", Long: "Take a label back. The id is its name, as list shows it.",
		Args: cli.Args("id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withdraw(cmd.Context(), a, args[0], cmd.OutOrStdout())
		},
	}
	a.flags(cmd.Flags())
	return cmd
}

func withdraw(ctx context.Context, a agentAddress, id string, out io.Writer) error {
	var l labels.Label
	if err := a.call(ctx, http.MethodDelete, "/"+url.PathEscape(id), nil, &l); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "withdrawn: %s of machine %s, %s\n", l.Kind, l.Machine, when(l))
	return err
}

func newLabelListCommand() *cobra.Command {
	var a agentAddress
	var machine string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the labels.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listLabels(cmd.Context(), a, machine, asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&machine, "machine", "", "Only this machine's.")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON.")
	a.flags(cmd.Flags())
	return cmd
}

func listLabels(ctx context.Context, a agentAddress, machine string, asJSON bool, out io.Writer) error {
	var list struct {
		Labels []labels.Label `json:"labels"`
	}
	if err := a.call(ctx, http.MethodGet, "?machine="+url.QueryEscape(machine), nil, &list); err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(list)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tMACHINE\tWHAT\tWHEN\tORDER\tBY")
	for _, l := range list.Labels {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Machine, what(l), when(l), l.Order, l.By)
	}
	return w.Flush()
}

func what(l labels.Label) string {
	text := string(l.Kind)
	if l.Right != nil {
		text = "alarm " + l.Episode + " was wrong"
		if *l.Right {
			text = "alarm " + l.Episode + " was right"
		}
	}
	if l.Class != "" {
		text += ": " + l.Class
	}
	if l.Withdrawn {
		text += " (withdrawn)"
	}
	return text
}

func when(l labels.Label) string {
	const form = "2006-01-02 15:04:05"
	if !l.At.IsZero() {
		return l.At.Local().Format(form)
	}
	if l.To.IsZero() {
		return "since " + l.From.Local().Format(form)
	}
	return l.From.Local().Format(form) + " to " + l.To.Local().Format(form)
}
