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
	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/internal/cli"
)

func main() { cli.Main(newRootCommand()) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{Use: "sensorsim", Short: "Publishes generated or recorded machines to an MQTT broker."}
	root.AddCommand(newSynthCommand(), newReplayCommand(), newRunCommand())
	return root
}

func newSynthCommand() *cobra.Command {
	b, m := defaultBroker(), Machine{Synth: &SynthMachine{}}
	cmd := &cobra.Command{
		Use: "synth --machine NAME", Short: "Publish a generated machine.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return publish(cmd, Config{Broker: withPassword(cmd.Flags(), b), Machines: []Machine{m}})
		},
	}
	brokerFlags(cmd.Flags(), &b)
	cmd.Flags().StringVar(&m.Name, "machine", "", "Name of the machine.")
	cli.Require(cmd, "machine")
	synthFlags(cmd.Flags(), m.Synth)
	return cmd
}

func newReplayCommand() *cobra.Command {
	b, m := defaultBroker(), Machine{Replay: &ReplayMachine{}}
	cmd := &cobra.Command{
		Use: "replay --machine NAME --file FILE", Short: "Publish a recorded CSV file as a machine.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return publish(cmd, Config{Broker: withPassword(cmd.Flags(), b), Machines: []Machine{m}})
		},
	}
	brokerFlags(cmd.Flags(), &b)
	cmd.Flags().StringVar(&m.Name, "machine", "", "Name of the machine.")
	replayFlags(cmd.Flags(), m.Replay)
	cli.Require(cmd, "machine", "file")
	return cmd
}

func newRunCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "Publish the machines of a YAML file.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return cli.Usage(err)
			}
			return publish(cmd, cfg)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "YAML `file`; see the README of sensors.")
	cli.Require(cmd, "config")
	return cmd
}

// publish runs the machines until they end or the command's context does.
func publish(cmd *cobra.Command, cfg Config) error {
	plant, err := newPlant(cfg, newHold(cmd.InOrStdin()), cmd.OutOrStdout())
	if err != nil {
		return cli.Usage(err)
	}
	if err := plant.run(cmd.Context()); err != nil && cmd.Context().Err() == nil {
		return err
	}
	return nil
}
