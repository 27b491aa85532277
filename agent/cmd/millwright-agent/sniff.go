package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/agent/internal/sniff"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

type sniffOptions struct {
	broker, username, passwordFile, caFile string
	wait                                   time.Duration
	topics                                 []string
	gateway                                string
}

func newSniffCommand() *cobra.Command {
	var o sniffOptions
	cmd := &cobra.Command{
		Use: "sniff --broker URL", Short: "Listen to a broker and print a configuration for what is heard.",
		RunE: func(cmd *cobra.Command, _ []string) error { return listen(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.broker, "broker", "", "The broker, as tcp://host:1883 or tls://host:8883.")
	cli.Require(cmd, "broker")
	f.DurationVar(&o.wait, "for", 30*time.Second, "How long to listen.")
	f.StringSliceVar(&o.topics, "topic", []string{"#", "spBv1.0/#"}, "Topics to listen to, with wildcards.")
	f.StringVar(&o.username, "username", "", "User at the broker.")
	f.StringVar(&o.passwordFile, "password-file", "", "`File` whose first line is the password.")
	f.StringVar(&o.caFile, "ca-file", "", "Authority that signed the broker's certificate.")
	f.StringVar(&o.gateway, "gateway", "", "Name of the gateway in the configuration. Default: this host's.")
	return cmd
}

func listen(ctx context.Context, o sniffOptions, out io.Writer) error {
	mqtt := agent.MQTTConfig{Broker: o.broker, Username: o.username, PasswordFile: o.passwordFile}
	if o.caFile != "" {
		mqtt.TLS = &agent.MQTTTLSConfig{CAFile: o.caFile}
	}
	to, err := mqtt.Link()
	if err != nil {
		return cli.Usage(err)
	}
	if o.wait <= 0 {
		return cli.Usage(fmt.Errorf("--for: %v is no time to listen", o.wait))
	}
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	survey := sniff.NewSurvey()
	began := time.Now()
	if err := survey.Listen(ctx, to, o.topics); err != nil {
		return fmt.Errorf("listen to %s: %w; %s", to.Broker.Redacted(), err, link.Mend(err))
	}
	topics, ignored := survey.Topics()
	if len(topics) == 0 {
		return errors.New("nothing was heard: check that the sensors publish to this broker and that this user may read, or listen longer with --for")
	}
	sniff.Make(topics).Print(out, o.gatewayName(), o.broker, o.username, time.Since(began), ignored)
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9-]+`)

func (o *sniffOptions) gatewayName() string {
	if o.gateway != "" {
		return o.gateway
	}
	host, err := os.Hostname()
	host = strings.Trim(notInNames.ReplaceAllString(host, "-"), "-")
	if err != nil || host == "" {
		return "gateway-1"
	}
	return host[:min(len(host), 63)]
}
