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
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes besides 0.
const (
	exitFailure = 1 // something failed while running
	exitUsage   = 2 // the command line or the configuration is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// failure is what went wrong while publishing; any other error is a mistake on the
// command line or in the configuration.
type failure struct{ error }

// run is the program with its surroundings as arguments; it returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var failed failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		fmt.Fprintln(stderr, "sensorsim:", err)
		return exitFailure
	}
	fmt.Fprintf(stderr, "sensorsim: %v\nsensorsim: see 'sensorsim --help'\n", err)
	return exitUsage
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "sensorsim", Short: "Publishes generated or recorded machines to an MQTT broker.",
		SilenceErrors: true, SilenceUsage: true,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // those of a verb that is misspelled
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected one of the verbs synth, replay and run")
		},
	}
	root.AddCommand(newSynthCommand(), newReplayCommand(), newRunCommand())
	return root
}

func newSynthCommand() *cobra.Command {
	b, m := defaultBroker(), Machine{Synth: &SynthMachine{}}
	cmd := &cobra.Command{
		Use: "synth --machine NAME", Short: "Publish a generated machine.", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return publish(cmd, Config{Broker: withPassword(cmd.Flags(), b), Machines: []Machine{m}})
		},
	}
	brokerFlags(cmd.Flags(), &b)
	cmd.Flags().StringVar(&m.Name, "machine", "", "Name of the machine.")
	require(cmd, "machine")
	synthFlags(cmd.Flags(), m.Synth)
	return cmd
}

func newReplayCommand() *cobra.Command {
	b, m := defaultBroker(), Machine{Replay: &ReplayMachine{}}
	cmd := &cobra.Command{
		Use: "replay --machine NAME --file FILE", Short: "Publish a recorded CSV file as a machine.", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return publish(cmd, Config{Broker: withPassword(cmd.Flags(), b), Machines: []Machine{m}})
		},
	}
	brokerFlags(cmd.Flags(), &b)
	cmd.Flags().StringVar(&m.Name, "machine", "", "Name of the machine.")
	replayFlags(cmd.Flags(), m.Replay)
	require(cmd, "machine", "file")
	return cmd
}

func newRunCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "Publish the machines of a YAML file.", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			return publish(cmd, cfg)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "YAML `file`; see the README of sensors.")
	require(cmd, "config")
	return cmd
}

// publish runs the machines until they end or the command's context does.
func publish(cmd *cobra.Command, cfg Config) error {
	plant, err := newPlant(cfg, newHold(cmd.InOrStdin()), cmd.OutOrStdout())
	if err != nil {
		return err
	}
	if err := plant.run(cmd.Context()); err != nil && cmd.Context().Err() == nil {
		return failure{err}
	}
	return nil
}

// require makes flags of cmd required. It panics when cmd has no such flag.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
}
