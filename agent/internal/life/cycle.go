package life

import (
	"math"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/samples"
)

// mean is the mean of the windows of a cycle so far.
type mean struct {
	n   int
	sum []float64
}

// add adds a window and returns how many there are.
func (m *mean) add(x []float64) int {
	if m.n == 0 {
		clear(m.sum)
	}
	m.n++
	for i, v := range x {
		// Not a sum to divide in the end: that could overflow.
		m.sum[i] += v/float64(m.n) - m.sum[i]/float64(m.n)
	}
	return m.n
}

// windows is how many windows, each a hop after the other, make a cycle.
func windows(cycle, hop time.Duration) int {
	return int(min(max(math.Ceil(float64(cycle)/float64(hop)), 1), math.MaxInt32))
}

// Cycle is what a machine showed in one cycle of operation.
type Cycle struct {
	At       time.Time // end of its last window
	Features []float64 // means over its windows
	Number   float64   // counted from 1, the first that the machine made
}

// Cycles reads stored cycles, oldest first, of so many features; those of another number
// of features are left out.
func Cycles(stored []samples.Row, features int) []Cycle {
	cycles := make([]Cycle, 0, len(stored))
	for _, row := range stored {
		if len(row.Vector) == features+1 {
			cycles = append(cycles, Cycle{row.At, row.Vector[:features:features], row.Vector[features]})
		}
	}
	return cycles
}
