package replay

import (
	"errors"
	"fmt"
	"io"
)

// Labels are what was true at one row, according to the recording.
type Labels struct {
	Row    int       // counted from 0
	Values []float64 // one a label column; an empty cell is 0
}

// ReadLabels reads the label columns of the file at path, one entry a row.
func ReadLabels(path string, f Format, columns ...string) ([]Labels, error) {
	r, err := Open(path, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	at := make([]int, len(columns))
	for i, name := range columns {
		if at[i], err = r.Column(name); err != nil {
			return nil, err
		}
	}
	var out []Labels
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		l := Labels{Row: row.Number, Values: make([]float64, len(columns))}
		for i, c := range at {
			x, _, err := parseCell(row.Fields[c])
			if err != nil {
				return nil, fmt.Errorf("%s:%d: column %q: %w", path, row.Line, columns[i], err)
			}
			l.Values[i] = x
		}
		out = append(out, l)
	}
}
