package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/sensors/hostbus"
	"github.com/millwright-iot/millwright/sensors/i2csource"
)

type sensorsOptions struct {
	json, noScan bool
	root         string
}

func newSensorsCommand() *cobra.Command {
	var o sensorsOptions
	cmd := &cobra.Command{
		Use: "sensors", Short: "List the buses of this box and the chips on them.",
		RunE: func(cmd *cobra.Command, _ []string) error { return listSensors(o, cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "Print JSON.")
	f.BoolVar(&o.noScan, "no-scan", false, "Do not look for chips on I²C.")
	f.StringVar(&o.root, "root", "", "Look under this directory instead of /.")
	f.Lookup("root").Hidden = true
	return cmd
}

// sensorsFound is a bus or chip, and the chips that answer on it.
type sensorsFound struct {
	hostbus.Found
	Chips []i2csource.Found `json:"chips,omitempty"`
	Scan  string            `json:"scan_error,omitempty"`
}

// scanTimeout is how long an address may keep a bus.
const scanTimeout = 100 * time.Millisecond

func listSensors(o sensorsOptions, out io.Writer) error {
	host := hostbus.Host{Root: o.root}
	var all []sensorsFound
	for _, f := range host.List() {
		one := sensorsFound{Found: f}
		if f.Kind == "i2c" && f.Access == "" && !o.noScan {
			bus, err := host.OpenI2C(f.Name, scanTimeout)
			if err == nil {
				one.Chips = i2csource.Scan(bus)
				err = bus.Close()
			}
			if err != nil {
				one.Scan = err.Error()
			}
		}
		all = append(all, one)
	}
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"found": append([]sensorsFound{}, all...)})
	}
	if len(all) == 0 {
		return errors.New("no bus found: enable I²C or SPI in the board's configuration, or use sensors that publish to a broker (millwright-agent sniff)")
	}
	for _, f := range all {
		fmt.Fprintf(out, "%-6s %-16s %s", f.Kind, f.Name, f.Path)
		if f.About != "" {
			fmt.Fprintf(out, " (%s)", f.About)
		}
		fmt.Fprintln(out)
		if f.Access != "" {
			fmt.Fprintf(out, "       cannot be used: %s\n", f.Access)
		}
		if f.Scan != "" {
			fmt.Fprintf(out, "       cannot be searched: %s\n", f.Scan)
		}
		for _, chip := range f.Chips {
			fmt.Fprintf(out, "       answers: {bus: i2c, device: %s, address: %#02x, chip: %s}\n", f.Name, chip.Address, chip.Chip)
		}
	}
	return nil
}
