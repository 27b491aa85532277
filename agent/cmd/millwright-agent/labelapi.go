package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

// send gives a label to the agent, with its times as a person writes them.
func (s *saying) send(ctx context.Context, out io.Writer) error {
	l := s.label
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"at", s.at, &l.At}, {"from", s.from, &l.From}, {"to", s.to, &l.To}} {
		var err error
		if *t.to, err = parseTime(t.text, time.Now()); err != nil {
			return cli.Usage(fmt.Errorf("--%s: %w", t.name, err))
		}
	}
	body, err := encode(l)
	if err != nil {
		return err
	}
	var kept struct {
		labels.Label
		Hint string `json:"hint"`
	}
	if err := s.agent.call(ctx, http.MethodPost, "", body, &kept); err != nil {
		return err
	}
	fmt.Fprintf(out, "kept as %s: machine %s, %s, %s\n", kept.ID, kept.Machine, what(kept.Label), when(kept.Label))
	if kept.Hint != "" {
		fmt.Fprintf(out, "note: %s\n", kept.Hint)
	}
	return nil
}

// encode writes what a person says of a label, without what the agent adds.
func encode(l labels.Label) ([]byte, error) {
	said := map[string]any{"kind": l.Kind}
	for key, text := range map[string]string{
		"id": l.ID, "machine": l.Machine, "class": l.Class, "episode": l.Episode, "order": l.Order, "by": l.By, "note": l.Note,
	} {
		if text != "" {
			said[key] = text
		}
	}
	for key, t := range map[string]time.Time{"at": l.At, "from": l.From, "to": l.To} {
		if !t.IsZero() {
			said[key] = t
		}
	}
	if l.Right != nil {
		said["right"] = *l.Right
	}
	return json.Marshal(said)
}

// parseTime reads a time as a person writes it: empty is the zero time.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, ok := strings.CutSuffix(text, " ago"); ok {
		if d, err := time.ParseDuration(strings.ReplaceAll(ago, " ", "")); err == nil && d >= 0 {
			return now.Add(-d).Truncate(time.Second), nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse("15:04", text); err == nil {
		return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location()), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time %s", text, whenHelp)
}

// agentAddress is where the running agent is.
type agentAddress struct{ config, api string }

func (a *agentAddress) flags(f *pflag.FlagSet) {
	configFlag(f, &a.config)
	f.StringVar(&a.api, "api", "", "Address of the running agent, instead of the configuration's.")
}

// call asks the running agent.
func (a *agentAddress) call(ctx context.Context, method, path string, body []byte, answer any) error {
	address := a.api
	if address == "" {
		cfg, err := agent.LoadConfig(a.config)
		if err != nil {
			return cli.Usage(fmt.Errorf("%w\nor say where the agent is with --api 127.0.0.1:7420", err))
		}
		address = cfg.API.Listen
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/api/v1/labels"+path, bytes.NewReader(body))
	if err != nil {
		return cli.Usage(fmt.Errorf("--api: %q is no address such as 127.0.0.1:7420", address))
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Timeout: 15 * time.Second}).Do(request)
	if err != nil {
		return fmt.Errorf("reach the agent: %w; is it running, and is this its api.listen?", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 32<<20))
	if err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	if response.StatusCode >= 300 {
		var problem struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(text, &problem) != nil || problem.Error == "" {
			return fmt.Errorf("agent at %s answers %s; is it an agent?", address, response.Status)
		}
		err := errors.New(problem.Error)
		if response.StatusCode < http.StatusInternalServerError {
			return cli.Usage(err)
		}
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// userName is who calls, as the system tells.
func userName() string {
	for _, key := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if name := os.Getenv(key); name != "" {
			return name
		}
	}
	return ""
}
