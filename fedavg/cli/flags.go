package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Require makes flags of cmd required. It panics when cmd has no such flag.
func Require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
}

// OneOf adds a flag whose value is one of a few words, "" if none is given; usage has them
// after it.
func OneOf(flags *pflag.FlagSet, p *string, name, value, usage string, words ...string) {
	*p = value
	flags.Var(&word{p, words}, name, usage+" "+strings.Join(words, ", ")+".")
}

// word is one of a few.
type word struct {
	value *string
	words []string
}

func (w *word) String() string { return *w.value }
func (w *word) Type() string   { return "string" }

func (w *word) Set(text string) error {
	if !slices.Contains(w.words, text) {
		return fmt.Errorf("must be one of %s", quoted(w.words))
	}
	*w.value = text
	return nil
}
