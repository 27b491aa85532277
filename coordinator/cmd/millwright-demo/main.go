// Command millwright-demo runs a whole federation on one machine: a broker, a
// coordinator, gateways with their machines, and the sensors, each a process of
// its own on loopback. It also measures (bench).
package main

import (
	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/fedavg/cli"
)

func main() { cli.Main(newRootCommand()) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{Use: "millwright-demo", Short: "Runs a whole federation on this machine."}
	root.AddCommand(newRunCommand(), newBenchCommand(), newBrokerCommand())
	return root
}
