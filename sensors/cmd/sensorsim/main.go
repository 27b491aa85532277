// Command sensorsim publishes generated or recorded machines to an MQTT broker,
// as sensors in a plant would.
//
//	sensorsim synth --broker tcp://localhost:1883 --machine pump-1 --fault outer-race@60s --speed 10
//	sensorsim replay --broker tcp://localhost:1883 --machine valve-0 --file 0.csv --time-column datetime --speed 50
//	sensorsim run --config fleet.yaml
//
// Everything goes out at QoS 1 and is sent again until the broker has
// acknowledged it. At the end one line a machine says what was delivered.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // something failed while running
	exitUsage   = 2 // the command line or the configuration is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type commandLine struct {
	Synth  synthCommand  `cmd:"" help:"Publish a generated machine."`
	Replay replayCommand `cmd:"" help:"Publish a recorded CSV file as a machine."`
	Run    runCommand    `cmd:"" help:"Publish the machines of a YAML file."`
}

type synthCommand struct {
	Broker  Broker       `embed:""`
	Machine string       `required:"" help:"Name of the machine."`
	Synth   SynthMachine `embed:""`
}

type replayCommand struct {
	Broker  Broker        `embed:""`
	Machine string        `required:"" help:"Name of the machine."`
	Replay  ReplayMachine `embed:""`
}

type runCommand struct {
	Config string `required:"" type:"path" help:"YAML file; see the README of sensors."`
}

// run is the program; it returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cli commandLine
	exited := -1
	parser, err := kong.New(&cli, kong.Name("sensorsim"),
		kong.Description("Publishes generated or recorded machines to an MQTT broker."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.Vars{"vibration_formats": "float32_time,float32,json"})
	if err != nil {
		fmt.Fprintln(stderr, "sensorsim:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "sensorsim:", err)
		return exitUsage
	}
	var cfg Config
	switch parsed.Command() {
	case "synth":
		cfg = Config{Broker: cli.Synth.Broker, Machines: []Machine{{Name: cli.Synth.Machine, Synth: &cli.Synth.Synth}}}
	case "replay":
		cfg = Config{Broker: cli.Replay.Broker, Machines: []Machine{{Name: cli.Replay.Machine, Replay: &cli.Replay.Replay}}}
	default:
		cfg, err = loadConfig(cli.Run.Config)
	}
	var plant *plant
	if err == nil {
		plant, err = newPlant(cfg, newHold(stdin), stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "sensorsim:", err)
		return exitUsage
	}
	if err := plant.run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "sensorsim:", err)
		return exitFailure
	}
	return exitOK
}
