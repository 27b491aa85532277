// Package cli runs the command lines of Millwright's programs. Each program builds a tree of
// cobra commands; this package gives all of them the same exit codes, mistakes that are told in
// a line with the nearest name that would have been right, and the same form of help.
//
// The programs use cobra and not kong because kong calls methods by a name known only at run
// time. The linker then keeps every exported method of every type in the program: the agent's
// binary would be 4 MB larger. For the same reason nothing here may set one of cobra's templates.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes besides 0.
const (
	// ExitFailure says that something failed while running.
	ExitFailure = 1
	// ExitUsage says that the command line or a configuration is wrong.
	ExitUsage = 2
)

// usageError is a mistake on the command line or in a configuration.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// Usage marks an error, not nil, as a mistake on the command line or in a configuration.
func Usage(err error) error { return &usageError{err} }

// Main runs the process's command line and ends the process. SIGINT and SIGTERM end the
// command's context; a second one ends the process at once.
func Main(root *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := Run(ctx, root, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run executes a command line, without the program's name, and returns the exit code. It writes
// an error to stderr, each line of it under the program's name. What a command returns is a
// failure unless [Usage] marked it; what keeps a command from being run is a mistake.
//
// A command that has others below it only names them: Run gives it its arguments and its RunE.
// A command without Args takes none.
func Run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(usage)
	root.InitDefaultCompletionCmd()
	began := false
	prepare(root, &began)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code := ExitFailure
	text := err.Error()
	var mistake *usageError
	switch {
	case !began:
		code = ExitUsage
		text += fmt.Sprintf("\nrun '%s --help' for what there is", cmd.CommandPath())
	case errors.As(err, &mistake):
		code = ExitUsage
	}
	for line := range strings.SplitSeq(text, "\n") {
		if _, err := fmt.Fprintf(stderr, "%s: %s\n", root.Name(), line); err != nil {
			break // nobody hears it; the exit code remains
		}
	}
	return code
}

// prepare completes cmd and what is below it; began becomes true when a command is run.
func prepare(cmd *cobra.Command, began *bool) {
	cmd.Flags().SortFlags = false
	for _, sub := range cmd.Commands() {
		prepare(sub, began)
	}
	if cmd.HasSubCommands() {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args[0])
			}
			return fmt.Errorf("expected one of %s", quoted(verbs(cmd)))
		}
		cmd.RunE = func(*cobra.Command, []string) error { return nil } // else cobra helps without looking at Args
		return
	}
	check, run := cmd.Args, cmd.RunE
	if check == nil {
		check = Args()
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := missingFlags(cmd); err != nil {
			return err
		}
		return check(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		*began = true
		return run(cmd, args)
	}
}
