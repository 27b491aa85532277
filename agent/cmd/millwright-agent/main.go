// Command millwright-agent watches the machines of one gateway.
package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millwright-iot/millwright/fedavg/cli"
)

// version is set by the linker.
var version = "devel"

func main() { cli.Main(newRootCommand()) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "millwright-agent",
		Short: "Keeps machines healthy: reads their sensors, predicts on the spot, learns in place.",
	}
	root.AddCommand(newRunCommand(), newCheckCommand(), newSniffCommand(), newTestCommand(), newRecordCommand(),
		newLabelCommand(), newSensorsCommand(), newVersionCommand())
	return root
}

// configFlag adds the flag that names the configuration.
func configFlag(f *pflag.FlagSet, path *string) {
	f.StringVarP(path, "config", "c", "/etc/millwright/agent.yaml", "Configuration `file`.")
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version.", RunE: func(cmd *cobra.Command, _ []string) error {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "millwright-agent", version)
		return err
	}}
}
