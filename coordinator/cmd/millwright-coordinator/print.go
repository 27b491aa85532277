package main

import (
	"encoding/json"
	"io"
	"text/tabwriter"
)

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printTable aligns lines whose cells are separated by tabs.
func printTable(out io.Writer, lines string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, lines); err != nil {
		return err
	}
	return w.Flush()
}
