// Command millwright-lab evaluates on recorded data the code that runs on the
// gateway.
package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millwright-iot/millwright/fedavg/cli"
)

func main() { cli.Main(newRootCommand()) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{Use: "millwright-lab", Short: "Evaluates on recorded data the code that runs on the gateway."}
	root.AddCommand(newEvalCommand(), newChooseCommand(), newSwarmCommand(), newRobustCommand(), newDriftCommand())
	return root
}

// result is what a verb measured.
type result interface{ WriteTable(out io.Writer) error }

// jsonFlag lets show print JSON.
func jsonFlag(f *pflag.FlagSet, p *bool) {
	f.BoolVar(p, "json", false, "Print JSON instead of a table.")
}

// show prints a result as a table or as JSON.
func show(out io.Writer, r result, asJSON bool) error {
	if !asJSON {
		return r.WriteTable(out)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}
