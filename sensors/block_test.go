package sensors

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestBlock_Validate(t *testing.T) {
	good := Block{Machine: "m", Channel: "c", Start: time.Unix(1, 0), RateHz: 10, Samples: []float64{1, 2}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	single := good
	single.RateHz, single.Samples = 0, []float64{1}
	if err := single.Validate(); err != nil {
		t.Errorf("single sample without a rate: %v", err)
	}
	for says, change := range map[string]func(*Block){
		"names no machine":  func(b *Block) { b.Machine = "" },
		"no machine or cha": func(b *Block) { b.Channel = "" },
		"no samples":        func(b *Block) { b.Samples = nil },
		"no start time":     func(b *Block) { b.Start = time.Time{} },
		"rate -1 Hz":        func(b *Block) { b.RateHz = -1 },
		"rate NaN Hz":       func(b *Block) { b.RateHz = math.NaN() },
		"rate +Inf Hz":      func(b *Block) { b.RateHz = math.Inf(1) },
		"but no rate":       func(b *Block) { b.RateHz = 0 },
		"sample 1 is NaN":   func(b *Block) { b.Samples = []float64{1, math.NaN()} },
		"sample 0 is -Inf":  func(b *Block) { b.Samples = []float64{math.Inf(-1)} },
	} {
		b := good
		change(&b)
		if err := b.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v; want an error that says %q", err, says)
		}
	}
}

func TestBlock_Duration(t *testing.T) {
	b := Block{RateHz: 3200, Samples: make([]float64, 1600)}
	if d := b.Duration(); d != 500*time.Millisecond {
		t.Errorf("1600 samples at 3200 Hz last %v; want 500 ms", d)
	}
	b.RateHz = 0
	if d := b.Duration(); d != 0 {
		t.Errorf("unknown rate: %v; want 0", d)
	}
}
