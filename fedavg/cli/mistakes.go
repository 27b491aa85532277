package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// verbs are the names of the commands below cmd.
func verbs(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	if near := nearest(verb, verbs(cmd)); near != "" {
		return fmt.Errorf("unexpected argument %s; did you mean %q?", verb, near)
	}
	return fmt.Errorf("unexpected argument %s; expected one of %s", verb, quoted(verbs(cmd)))
}

// flagError says what is wrong with a flag, or with the verb before it.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		return unknownVerb(cmd, cmd.Flags().Arg(0)) // its flags are unknown because it is
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	name := unknown.GetSpecifiedName()
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("unknown flag --%s; did you mean --%s?", name, near)
	}
	return fmt.Errorf("unknown flag --%s", name)
}

// nearest returns the name that was probably meant, or "" when none is near. It is
// stricter than strictyaml's Nearest, which sensorsim may not depend on.
func nearest(name string, known []string) string {
	name = strings.ToLower(name)
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, k := range known {
		d := levenshtein.ComputeDistance(name, k)
		if name != "" && strings.HasPrefix(k, name) {
			d = 1
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// missingFlags names the flags that cmd requires and that were not given.
func missingFlags(cmd *cobra.Command) error {
	var missing []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed && slices.Contains(f.Annotations[cobra.BashCompOneRequiredFlag], "true") {
			missing = append(missing, "--"+f.Name)
		}
	})
	if len(missing) > 0 {
		return fmt.Errorf("missing %s", strings.Join(missing, ", "))
	}
	return nil
}

// Args is the check of a command that takes one argument a name. With "..." behind the last
// name, one or more are taken in its place.
func Args(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("expected %q", "<"+names[len(args)]+">")
		}
		more := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		if len(args) > len(names) && !more {
			return fmt.Errorf("unexpected argument %s", args[len(names)])
		}
		return nil
	}
}

// ExistingFile is an error, a mistake of the command line, unless path is a file. What names
// the flag or argument.
func ExistingFile(what, path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%q is a folder, not a file", path)
	}
	return about(what, err)
}

// ExistingFolder is an error, a mistake of the command line, unless path is a folder. What
// names the flag or argument.
func ExistingFolder(what, path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%q is no folder", path)
	}
	return about(what, err)
}

func about(what string, err error) error {
	if err == nil {
		return nil
	}
	return Usage(fmt.Errorf("%s: %w", what, err))
}

func quoted(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(list, ", ")
}
