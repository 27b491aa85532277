package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// helpColumns is how wide the help on flags is.
const helpColumns = 96

// usage writes how a command is called: its flags, or the commands below it, all the way down.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	if !cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "Usage: %s\n\nFlags:\n%s", cmd.UseLine(), cmd.Flags().FlagUsagesWrapped(helpColumns))
	} else {
		fmt.Fprintf(&b, "Usage: %s <command>\n\nCommands:\n", cmd.CommandPath())
		width := 0
		each(cmd, "", func(name, _ string) { width = max(width, len(name)) })
		each(cmd, "", func(name, short string) { fmt.Fprintf(&b, "  %-*s  %s\n", width, name, short) })
		fmt.Fprintf(&b, "\nRun '%s <command> --help' for more.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// each visits the commands that can be run below cmd, by their name from there.
func each(cmd *cobra.Command, above string, visit func(name, short string)) {
	for _, sub := range cmd.Commands() {
		switch {
		case !sub.IsAvailableCommand():
		case sub.HasAvailableSubCommands() && sub.Name() != "completion": // that one only differs by shell
			each(sub, above+sub.Name()+" ", visit)
		default:
			visit(above+sub.Name(), sub.Short)
		}
	}
}
