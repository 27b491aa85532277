// Command millwright-coordinator is headquarters: it enrols gateways, runs
// rounds, releases models and shows the fleet.
package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millwright-iot/millwright/coordinator"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = ""

func main() { cli.Main(newRootCommand()) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "millwright-coordinator",
		Short: "Merges what all plants learned into better models and hands them back.",
	}
	root.AddCommand(newRunCommand(), newCheckCommand(), newTokenCommand(), newGatewayCommand(),
		newQuarantineCommand(), newForgetCommand(), newVersionCommand())
	return root
}

// configFile is the path of the configuration, a flag of every verb that needs one.
type configFile string

func (f *configFile) flag(flags *pflag.FlagSet) {
	flags.StringVarP((*string)(f), "config", "c", "/etc/millwright/coordinator.yaml", "Configuration `file`.")
}

// load reads the configuration; its errors are the user's.
func (f *configFile) load() (coordinator.Config, error) {
	cfg, err := coordinator.LoadConfig(string(*f))
	if err != nil {
		return coordinator.Config{}, cli.Usage(err)
	}
	cfg.Version = buildVersion()
	return cfg, nil
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version.", RunE: func(cmd *cobra.Command, _ []string) error {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "millwright-coordinator %s (%s %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}}
}

// buildVersion is what the linker was told, else the module's version, else the
// commit the binary was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	text := "devel"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			text += "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			text += "-modified"
		}
	}
	return text
}
