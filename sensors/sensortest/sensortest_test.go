package sensortest

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// source is a well-behaved Source until one of its manners is changed.
type source struct {
	samples   func(i int) []float64
	start     func(i int) time.Time
	emitTwice bool // from two goroutines at once
	swallow   bool // go on after an error of emit
	ctxError  bool // return ctx's error
	leak      bool // leave a goroutine behind
}

func (s source) Run(ctx context.Context, emit func(sensors.Block) error) error {
	if s.leak {
		go func() { time.Sleep(time.Hour) }()
	}
	for i := 0; ctx.Err() == nil && (!s.swallow || i != 100); i++ {
		b := sensors.Block{Machine: "m", Channel: "c", Start: s.start(i), RateHz: 1, Samples: s.samples(i)}
		if s.emitTwice {
			done := make(chan error)
			go func() { done <- emit(b) }()
			err := emit(b)
			if <-done; err != nil {
				return err
			}
		} else if err := emit(b); err != nil && !s.swallow {
			return err
		}
	}
	if s.ctxError {
		return ctx.Err()
	}
	return nil
}

func good() source {
	return source{
		samples: func(i int) []float64 { return []float64{float64(i)} },
		start:   func(i int) time.Time { return time.Unix(int64(1000+i), 0) },
	}
}

var shared = make([]float64, 100)

// sources are the good one and one for each rule it can break.
var sources = map[string]func() source{
	"good": good,
	"NaN":  func() source { s := good(); s.samples = func(int) []float64 { return []float64{math.NaN()} }; return s },
	"reuses": func() source {
		s := good()
		s.samples = func(i int) []float64 { shared[0]++; return shared[:1] }
		return s
	},
	"overlaps": func() source {
		s := good()
		s.samples = func(i int) []float64 { return shared[i%50 : i%50+1] }
		return s
	},
	"backwards": func() source {
		s := good()
		s.start = func(i int) time.Time { return time.Unix(int64(1000-i), 0) }
		return s
	},
	"twice":     func() source { s := good(); s.emitTwice = true; return s },
	"swallows":  func() source { s := good(); s.swallow = true; return s },
	"ctx error": func() source { s := good(); s.ctxError = true; return s },
	"leaks":     func() source { s := good(); s.leak = true; return s },
}

const chosen = "SENSORTEST_SOURCE"

// TestChosen runs the suite on the source that TestSuite_Catches chose.
func TestChosen(t *testing.T) {
	name := os.Getenv(chosen)
	if name == "" {
		name = "good"
	}
	TestSource(t, func(*testing.T) Fixture {
		return Fixture{Source: sources[name](), Channels: []string{"m/c"}}
	})
}

// The suite is worth something only if it fails on a Source that breaks a rule.
// A failing test cannot be run inside a passing one, so each runs in a process
// of its own.
func TestSuite_Catches(t *testing.T) {
	for name, want := range map[string]string{
		"NaN": "emitted an invalid block", "reuses": "changed after it was emitted", "overlaps": "share memory",
		"backwards": "without QualityGap", "twice": "while an earlier call was under way", "swallows": "want the error of emit",
		"ctx error": "want nil", "leaks": "found unexpected goroutines",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestChosen$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", chosen, name))
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("suite on a source that %s: %v; want a failure that says %q:\n%s", name, err, want, out)
			}
		})
	}
}
