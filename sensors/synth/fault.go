package synth

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The faults a machine can have.
const (
	// Imbalance is mass off the axis: a force of once a turn that grows with
	// the square of the speed.
	Imbalance Kind = "imbalance"
	// Misalignment of the coupling: twice and three times a turn.
	Misalignment Kind = "misalignment"
	// OuterRace is a spot on the race that stands still: even impacts at BPFO.
	OuterRace Kind = "outer-race"
	// InnerRace is a spot on the race that turns: impacts at BPFI, strong once
	// a turn when the spot is under load.
	InnerRace Kind = "inner-race"
	// Ball is a spot on a ball: impacts at twice BSF, alternating between the
	// races, strong once a turn of the cage.
	Ball Kind = "ball"
)

// Kinds lists every kind of fault.
func Kinds() []Kind { return []Kind{Imbalance, Misalignment, OuterRace, InnerRace, Ball} }

// Fault is damage that begins and grows.
type Fault struct {
	Kind Kind
	// Begins is when, in the machine's time since its start.
	Begins time.Duration
	// GrowsOver is how long it takes to reach Severity; 0 is at once.
	GrowsOver time.Duration
	// Severity is how bad it becomes. 1 is a fault that calls for a stop: an
	// imbalance or misalignment in zone D of ISO 20816-3, impacts of 12 m/s².
	Severity float64
	// Fatigue makes it grow as cracks do, hardly at first and ever faster, from 1/50 of
	// Severity on; otherwise it grows linearly. A machine wears out with a fault of
	// severity 1 that grows over its life.
	Fatigue bool
}

// crackBegins is the size of a crack at first, as a part of its last.
const crackBegins = 0.02

// crack is the size at a part x of its life, as a part of its last: da/dt ∝ a^(m/2)
// (P. Paris and F. Erdogan, Journal of Basic Engineering 85 (1963) 528–533) with
// m = 4 has the solution a₀/(1 − (1 − a₀/a₁)·x).
func crack(x float64) float64 { return crackBegins / (1 - (1-crackBegins)*x) }

// At is the severity at time t since the machine's start.
func (f Fault) At(t time.Duration) float64 {
	switch {
	case t < f.Begins:
		return 0
	case t-f.Begins >= f.GrowsOver:
		return f.Severity
	}
	x := float64(t-f.Begins) / float64(f.GrowsOver)
	if f.Fatigue {
		x = crack(x)
	}
	return f.Severity * x
}

const fatigue = "~fatigue" // at the end of a fault's text

// String writes f as ParseFault reads it.
func (f Fault) String() string {
	text := fmt.Sprintf("%s@%v/%v*%v", f.Kind, f.Begins, f.GrowsOver, f.Severity)
	if f.Fatigue {
		text += fatigue
	}
	return text
}

func (f Fault) validate() error {
	if !slices.Contains(Kinds(), f.Kind) {
		return fmt.Errorf("unknown fault %q; one of %v", f.Kind, Kinds())
	}
	if f.Begins < 0 || f.GrowsOver < 0 || !(f.Severity > 0) || math.IsInf(f.Severity, 0) {
		return fmt.Errorf("fault %v: times must not be negative and the severity must be positive", f)
	}
	return nil
}

// ParseFault reads kind@begins[/grows-over][*severity][~fatigue], as in
// "outer-race@60s", "ball@10m/5m*0.5" or "inner-race@0s/200h~fatigue". Default growth 2 min,
// severity 1.
func ParseFault(text string) (Fault, error) {
	f := Fault{GrowsOver: 2 * time.Minute, Severity: 1}
	wrong := func(err error) (Fault, error) {
		return Fault{}, fmt.Errorf("parse fault %q: %w; write kind@begins/grows-over*severity~fatigue, as in outer-race@60s/120s*0.5", text, err)
	}
	body, crack := strings.CutSuffix(text, fatigue)
	f.Fatigue = crack
	kind, rest, ok := strings.Cut(body, "@")
	if !ok {
		return wrong(fmt.Errorf("no @ and time"))
	}
	f.Kind = Kind(kind)
	var err error
	rest, severity, ok := strings.Cut(rest, "*")
	if ok {
		if f.Severity, err = strconv.ParseFloat(severity, 64); err != nil {
			return wrong(err)
		}
	}
	begins, grows, ok := strings.Cut(rest, "/")
	if ok {
		if f.GrowsOver, err = time.ParseDuration(grows); err != nil {
			return wrong(err)
		}
	}
	if f.Begins, err = time.ParseDuration(begins); err != nil {
		return wrong(err)
	}
	if err := f.validate(); err != nil {
		return wrong(err)
	}
	return f, nil
}
