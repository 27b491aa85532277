package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/agent/internal/sniff"
)

type sniffCmd struct {
	Broker       string        `help:"The broker, as tcp://host:1883 or tls://host:8883." required:"" placeholder:"URL"`
	For          time.Duration `help:"How long to listen." default:"30s"`
	Topic        []string      `help:"Topics to listen to, with wildcards." default:"#,spBv1.0/#"`
	Username     string        `help:"User at the broker."`
	PasswordFile string        `help:"File whose first line is the password." type:"path"`
	CAFile       string        `name:"ca-file" help:"Authority that signed the broker's certificate." type:"path"`
	Gateway      string        `help:"Name of the gateway in the configuration. Default: this host's."`
}

// Run is called by kong.
func (c *sniffCmd) Run(out io.Writer) error {
	mqtt := agent.MQTTConfig{Broker: c.Broker, Username: c.Username, PasswordFile: c.PasswordFile}
	if c.CAFile != "" {
		mqtt.TLS = &agent.MQTTTLSConfig{CAFile: c.CAFile}
	}
	o, err := mqtt.Link()
	if err != nil {
		return &usageError{err}
	}
	if c.For <= 0 {
		return &usageError{fmt.Errorf("--for: %v is no time to listen", c.For)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	survey := sniff.NewSurvey()
	began := time.Now()
	if err := survey.Listen(ctx, o, c.Topic); err != nil {
		return fmt.Errorf("listen to %s: %w; %s", o.Broker.Redacted(), err, link.Mend(err))
	}
	topics, ignored := survey.Topics()
	if len(topics) == 0 {
		return errors.New("nothing was heard: check that the sensors publish to this broker and that this user may read, or listen longer with --for")
	}
	sniff.Make(topics).Print(out, c.gateway(), c.Broker, c.Username, time.Since(began), ignored)
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9-]+`)

func (c *sniffCmd) gateway() string {
	if c.Gateway != "" {
		return c.Gateway
	}
	host, err := os.Hostname()
	host = strings.Trim(notInNames.ReplaceAllString(host, "-"), "-")
	if err != nil || host == "" {
		return "gateway-1"
	}
	return host[:min(len(host), 63)]
}
