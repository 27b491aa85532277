package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// Result is what an evaluation found. It marshals to JSON as its fields.
type Result interface {
	// WriteTable prints the result for people.
	WriteTable(w io.Writer) error
	// Page is the result with charts.
	Page() plot.Page
}

// Dataset is one public dataset that can be evaluated.
type Dataset struct {
	Name     string
	Evaluate func(ctx context.Context, dir string) (Result, error)
}

// Datasets lists what can be evaluated.
func Datasets() []Dataset {
	return []Dataset{
		{"skab", func(ctx context.Context, dir string) (Result, error) {
			return evaluate(ctx, dir, FindSKAB, EvaluateSKAB)
		}},
		{"cmapss", func(ctx context.Context, dir string) (Result, error) {
			return evaluate(ctx, dir, FindCMAPSS, EvaluateCMAPSS)
		}},
		{"cwru", func(ctx context.Context, dir string) (Result, error) {
			return evaluate(ctx, dir, FindCWRU, EvaluateCWRU)
		}},
		{"gearbox", func(ctx context.Context, dir string) (Result, error) {
			return evaluate(ctx, dir, FindGearbox, EvaluateGearbox)
		}},
	}
}

// evaluate finds files and evaluates them.
func evaluate[F any, R Result](ctx context.Context, dir string, find func(string) (F, error), run func(context.Context, F) (R, error)) (Result, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open the data: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open the data: %q is a file; name the folder that holds it", dir)
	}
	files, err := find(dir)
	if err != nil {
		return nil, err
	}
	r, err := run(ctx, files)
	if err != nil {
		return nil, err // not r: a nil pointer in an interface is not a nil interface
	}
	return r, nil
}

// Evaluate runs the dataset of that name on the files in dir.
func Evaluate(ctx context.Context, name, dir string) (Result, error) {
	var names []string
	for _, d := range Datasets() {
		if d.Name == name {
			return d.Evaluate(ctx, dir)
		}
		names = append(names, d.Name)
	}
	return nil, fmt.Errorf("evaluate dataset %q: there is none of that name; there are %s", name, strings.Join(names, ", "))
}
