// Command millwright-demo runs a whole federation on one machine: a broker, a
// coordinator, gateways with their machines, and the sensors, each a process of
// its own on loopback. It also measures (bench).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Run    runCommand    `cmd:"" help:"Run a federation with generated or recorded machines."`
	Bench  benchCommand  `cmd:"" help:"Measure speed and size of everything, each against this machine's own limits."`
	Broker brokerCommand `cmd:"" help:"Run the embedded MQTT broker alone."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	k := kong.Parse(&c, kong.Name("millwright-demo"), kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}
