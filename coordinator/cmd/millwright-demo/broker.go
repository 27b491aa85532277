package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

type brokerCommand struct {
	Listen string `default:"127.0.0.1:1883" help:"Address to listen on."`
}

// Run serves MQTT to anyone on the address until ctx ends. The broker is for
// demonstration and tests on loopback: it has no users and keeps nothing on disk.
func (c *brokerCommand) Run(ctx context.Context) error {
	options := &mqtt.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	server := mqtt.New(options)
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return fmt.Errorf("set up broker: %w", err)
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "loopback", Address: c.Listen})); err != nil {
		return fmt.Errorf("listen for MQTT on %s: %w", c.Listen, err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("serve MQTT on %s: %w", c.Listen, err)
	}
	<-ctx.Done()
	return server.Close()
}
