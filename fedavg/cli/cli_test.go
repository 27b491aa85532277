package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// newProgram is a program with each kind of verb. What is run says so.
func newProgram() *cobra.Command {
	says := func(cmd *cobra.Command, args []string) error {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), cmd.CommandPath(), args)
		return err
	}
	root := &cobra.Command{Use: "prog", Short: "Does things."}
	var speed int
	var colour string
	paint := &cobra.Command{Use: "paint --brush NAME", Short: "Paint.", RunE: says}
	paint.Flags().String("brush", "", "The brush.")
	paint.Flags().IntVar(&speed, "speed", 3, "How fast.")
	paint.Flags().String("secret", "", "Nobody's business.")
	_ = paint.Flags().MarkHidden("secret")
	OneOf(paint.Flags(), &colour, "colour", "red", "Colour:", "red", "green")
	Require(paint, "brush")
	group := &cobra.Command{Use: "wall", Short: "Walls."}
	group.AddCommand(
		&cobra.Command{Use: "list", Short: "List walls.", RunE: says},
		&cobra.Command{Use: "join <a> <b>", Short: "Join two.", Args: Args("a", "b"), RunE: says},
		&cobra.Command{Use: "drop <wall>...", Short: "Drop some.", Args: Args("wall..."), RunE: says})
	root.AddCommand(paint, group,
		&cobra.Command{Use: "fail", Short: "Fail.", RunE: func(*cobra.Command, []string) error {
			return errors.Join(errors.New("one"), errors.New("two"))
		}},
		&cobra.Command{Use: "mistake", Short: "Be wrong.", RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("read: %w", Usage(os.ErrNotExist))
		}})
	return root
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string // parts; the first line whole where it ends in a line feed
	}{
		{"wall list", 0, "prog wall list []\n", ""},
		{"wall join x y", 0, "prog wall join [x y]\n", ""},
		{"wall drop x y z", 0, "prog wall drop [x y z]\n", ""},
		{"paint --brush=b --colour green --speed=4", 0, "prog paint []\n", ""},
		{"--help", 0, "wall join ", ""},
		{"help wall", 0, "Usage: prog wall <command>", ""},
		{"paint --help", 0, "--speed int", ""},
		{"completion bash", 0, "# bash completion", ""},
		{"completion zsh", 0, "#compdef prog", ""},
		{"completion fish", 0, "# fish completion", ""},

		{"", 2, "", "prog: expected one of \"completion\", \"fail\", \"mistake\", \"paint\", \"wall\"\nprog: run 'prog --help' for what there is\n"},
		{"pant --brush b", 2, "", "prog: unexpected argument pant; did you mean \"paint\"?\n"},
		{"dance", 2, "", "prog: unexpected argument dance; expected one of \"completion\""},
		{"--brush b", 2, "", "prog: unknown flag --brush\n"},
		{"wall", 2, "", "prog: expected one of \"drop\", \"join\", \"list\"\nprog: run 'prog wall --help'"},
		{"wall lst", 2, "", "prog: unexpected argument lst; did you mean \"list\"?\n"},
		{"wall list all", 2, "", "prog: unexpected argument all\nprog: run 'prog wall list --help'"},
		{"wall join x", 2, "", "prog: expected \"<b>\"\n"},
		{"wall join x y z", 2, "", "prog: unexpected argument z\n"},
		{"wall drop", 2, "", "prog: expected \"<wall...>\"\n"},
		{"paint", 2, "", "prog: missing --brush\nprog: run 'prog paint --help' for what there is\n"},
		{"paint --bush b", 2, "", "prog: unknown flag --bush; did you mean --brush?\n"},
		{"paint --secrets b", 2, "", "prog: unknown flag --secrets\n"}, // hidden stays hidden
		{"paint --brush b --colour gren", 2, "", `invalid argument "gren" for "--colour" flag: must be one of "red", "green"`},
		{"paint --brush b --speed fast", 2, "", "--speed"},
		{"paint -x", 2, "", "-x"},
		{"completion bsh", 2, "", "did you mean \"bash\"?\n"},

		{"fail", 1, "", "prog: one\nprog: two\n"},
		{"mistake", 2, "", "prog: read: file does not exist\n"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := Run(t.Context(), newProgram(), strings.Fields(c.args), nil, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) || c.stdout == "" && stdout.Len() > 0 {
				t.Errorf("stdout is %q, want %q", &stdout, c.stdout)
			}
			if !strings.Contains(stderr.String(), c.stderr) || c.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stderr is %q, want %q", &stderr, c.stderr)
			}
		})
	}
}

func TestRun_Help(t *testing.T) {
	var out bytes.Buffer
	if code := Run(t.Context(), newProgram(), []string{"--help"}, nil, &out, &out); code != 0 {
		t.Errorf("exit code %d", code)
	}
	const want = `Does things.

Usage: prog <command>

Commands:
  completion  Generate the autocompletion script for the specified shell
  fail        Fail.
  mistake     Be wrong.
  paint       Paint.
  wall drop   Drop some.
  wall join   Join two.
  wall list   List walls.

Run 'prog <command> --help' for more.
`
	if out.String() != want {
		t.Errorf("help of the program is\n%s", &out)
	}
	out.Reset()
	Run(t.Context(), newProgram(), []string{"paint", "-h"}, nil, &out, &out)
	const verb = `Paint.

Usage: prog paint --brush NAME [flags]

Flags:
      --brush string    The brush.
      --speed int       How fast. (default 3)
      --colour string   Colour: red, green. (default "red")
  -h, --help            help for paint
`
	if out.String() != verb {
		t.Errorf("help of the verb is\n%s", &out)
	}
}

func TestRun_ContextAndInput(t *testing.T) {
	type key struct{}
	root := &cobra.Command{Use: "prog"}
	root.AddCommand(&cobra.Command{Use: "verb", Short: "Look.", RunE: func(cmd *cobra.Command, _ []string) error {
		text := make([]byte, 2)
		if _, err := cmd.InOrStdin().Read(text); err != nil || string(text) != "in" || cmd.Context().Value(key{}) != "ctx" {
			t.Errorf("input %q (%v), context %v", text, err, cmd.Context())
		}
		return nil
	}})
	var out bytes.Buffer
	if code := Run(context.WithValue(t.Context(), key{}, "ctx"), root, []string{"verb"}, strings.NewReader("in"), &out, &out); code != 0 {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

func TestExisting(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		says string // empty for none
	}{
		{ExistingFile("--job", file), ""},
		{ExistingFolder("--data", dir), ""},
		{ExistingFile("--job", dir), "--job: \"" + dir + "\" is a folder, not a file"},
		{ExistingFolder("--data", file), "--data: \"" + file + "\" is no folder"},
		{ExistingFile("--job", file+"x"), "--job: stat " + file + "x: no such file"},
		{ExistingFolder("--data", dir+"x"), "--data: stat " + dir + "x: no such file"},
	} {
		var mistake *usageError
		switch {
		case c.says == "" && c.err != nil:
			t.Error(c.err)
		case c.says != "" && (!errors.As(c.err, &mistake) || !strings.HasPrefix(c.err.Error(), c.says)):
			t.Errorf("error is %v, want %s", c.err, c.says)
		}
	}
}
