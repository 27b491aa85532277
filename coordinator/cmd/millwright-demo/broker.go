package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/spf13/cobra"
)

func newBrokerCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "broker", Short: "Run the embedded MQTT broker alone.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runBroker(cmd.Context(), listen, cmd.ErrOrStderr()) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:1883", "Address to listen on.")
	return cmd
}

// runBroker serves MQTT to anyone on the address until ctx ends. The broker is for
// demonstration and tests on loopback: it has no users and keeps nothing on disk.
func runBroker(ctx context.Context, listen string, logs io.Writer) error {
	options := &mqtt.Options{Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	server := mqtt.New(options)
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return fmt.Errorf("set up broker: %w", err)
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "loopback", Address: listen})); err != nil {
		return fmt.Errorf("listen for MQTT on %s: %w", listen, err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("serve MQTT on %s: %w", listen, err)
	}
	<-ctx.Done()
	return server.Close()
}
