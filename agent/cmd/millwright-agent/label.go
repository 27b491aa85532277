package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/millwright-iot/millwright/agent/internal/labels"
)

// labelCmd tells the running agent what was true of a machine.
type labelCmd struct {
	Failure     labelFailureCmd     `cmd:"" help:"The machine failed."`
	Fault       labelFaultCmd       `cmd:"" help:"The machine has, or had, a confirmed fault."`
	Healthy     labelHealthyCmd     `cmd:"" help:"The machine was inspected and in order."`
	Maintenance labelMaintenanceCmd `cmd:"" help:"The machine was worked on, without having failed: a new life begins."`
	Right       labelRightCmd       `cmd:"" help:"The alarm was right."`
	Wrong       labelWrongCmd       `cmd:"" help:"The alarm was wrong: the machine was in order."`
	List        labelListCmd        `cmd:"" help:"List the labels."`
	Withdraw    labelWithdrawCmd    `cmd:"" help:"Take a label back."`
}

// labelAPI is where the running agent is.
type labelAPI struct {
	configFlag
	API string `help:"Address of the running agent, instead of the configuration's." placeholder:"HOST:PORT"`
}

// labelAbout is what may be said with every label.
type labelAbout struct {
	labelAPI
	Order string `help:"Work order."`
	By    string `help:"Who says so." default:"${user}"`
	Note  string `help:"What else is worth knowing."`
	ID    string `help:"Name of the label; one given again under its name is replaced."`
}

// whenHelp is how times are written.
const whenHelp = "such as 2026-05-01T14:30, 14:30 (of today, local time) or '2h ago'"

type labelFailureCmd struct {
	Machine string `arg:""`
	At      string `help:"When, ${when}; now without it."`
	Class   string `help:"Of what, if that is known: one of the classes of the machine's jobs."`
	labelAbout
}

// Run is called by kong.
func (c *labelFailureCmd) Run(out io.Writer) error {
	return c.send(out, labels.Label{Machine: c.Machine, Kind: labels.Failure, Class: c.Class}, c.At, "", "")
}

type labelFaultCmd struct {
	Machine string `arg:""`
	Class   string `arg:"" help:"Which fault: one of the classes of the machine's jobs."`
	From    string `help:"Since when, ${when}." required:""`
	To      string `help:"Until when; without it until the machine is worked on."`
	labelAbout
}

// Run is called by kong.
func (c *labelFaultCmd) Run(out io.Writer) error {
	return c.send(out, labels.Label{Machine: c.Machine, Kind: labels.Fault, Class: c.Class}, "", c.From, c.To)
}

type labelHealthyCmd struct {
	Machine string `arg:""`
	From    string `help:"Since when, ${when}." required:""`
	To      string `help:"Until when; now without it."`
	labelAbout
}

// Run is called by kong.
func (c *labelHealthyCmd) Run(out io.Writer) error {
	return c.send(out, labels.Label{Machine: c.Machine, Kind: labels.Healthy}, "", c.From, c.To)
}

type labelMaintenanceCmd struct {
	Machine string `arg:""`
	At      string `help:"When, ${when}; now without it."`
	labelAbout
}

// Run is called by kong.
func (c *labelMaintenanceCmd) Run(out io.Writer) error {
	return c.send(out, labels.Label{Machine: c.Machine, Kind: labels.Maintenance}, c.At, "", "")
}

type labelRightCmd struct {
	Episode string `arg:"" help:"Id of the alarm."`
	Class   string `help:"Which fault it was, if that is known: one of the classes of the machine's jobs."`
	labelAbout
}

// Run is called by kong.
func (c *labelRightCmd) Run(out io.Writer) error {
	right := true
	return c.send(out, labels.Label{Kind: labels.Verdict, Episode: c.Episode, Right: &right, Class: c.Class}, "", "", "")
}

type labelWrongCmd struct {
	Episode string `arg:"" help:"Id of the alarm."`
	labelAbout
}

// Run is called by kong.
func (c *labelWrongCmd) Run(out io.Writer) error {
	right := false
	return c.send(out, labels.Label{Kind: labels.Verdict, Episode: c.Episode, Right: &right}, "", "", "")
}

type labelWithdrawCmd struct {
	ID string `arg:"" help:"Name of the label, as list shows it."`
	labelAPI
}

// Run is called by kong.
func (c *labelWithdrawCmd) Run(out io.Writer) error {
	var l labels.Label
	if err := c.call(http.MethodDelete, "/"+url.PathEscape(c.ID), nil, &l); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "withdrawn: %s of machine %s, %s\n", l.Kind, l.Machine, when(l))
	return err
}

type labelListCmd struct {
	Machine string `help:"Only this machine's."`
	JSON    bool   `help:"Print JSON."`
	labelAPI
}

// Run is called by kong.
func (c *labelListCmd) Run(out io.Writer) error {
	var list struct {
		Labels []labels.Label `json:"labels"`
	}
	if err := c.call(http.MethodGet, "?machine="+url.QueryEscape(c.Machine), nil, &list); err != nil {
		return err
	}
	if c.JSON {
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
