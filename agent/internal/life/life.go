// Package life counts the cycles of operation of one machine, keeps what it showed in
// each, and predicts from it how much of its life remains.
package life

import (
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// End is when a life of a machine ended. A new one begins.
type End struct {
	At time.Time
	// Failed says that the machine failed; otherwise it was maintained, and how long it
	// would have lived is not known.
	Failed bool
}

// Lives divides cycles, oldest first, into lives by their ends, in the order of time,
// as package prognosis learns from them: of one that failed each cycle's target is how many
// were left; of others that is known only of cycles with at least so many as ceiling
// after them, which count as the ceiling. Of a life whose beginning is not among the cycles
// no target is known: it says what machines show, not how they age.
//
// At most so many cycles as most are returned, of the newest lives that fit.
func Lives(machine string, cycles []Cycle, ends []End, ceiling float64, most int) []model.Set {
	var lives []model.Set
	whole := len(cycles) > 0 && cycles[0].Number == 1
	for len(cycles) > 0 {
		n, failed := firstLife(cycles, ends)
		l := set(machine, cycles[:n], failed, ceiling)
		if !whole {
			forget(l.Targets)
		}
		lives = append(lives, l)
		cycles, whole = cycles[n:], true
	}
	from := len(lives)
	for from > 0 && len(lives[from-1].Rows) <= most {
		from--
		most -= len(lives[from].Rows)
	}
	if from == len(lives) && from > 0 && most > 0 { // not even the newest fits
		from--
		l := &lives[from]
		cut := len(l.Rows) - most
		l.Rows, l.Targets = l.Rows[cut:], l.Targets[cut:]
		forget(l.Targets)
	}
	return lives[from:]
}

// forget makes targets ones that are not known.
func forget(targets []float64) {
	for i := range targets {
		targets[i] = -1
	}
}

// firstLife is how many cycles the first life has, and how it ended.
func firstLife(cycles []Cycle, ends []End) (n int, failed bool) {
	for _, e := range ends {
		if e.At.Before(cycles[0].At) {
			continue
		}
		for n < len(cycles) && !cycles[n].At.After(e.At) {
			n++
		}
		return n, e.Failed
	}
	return len(cycles), false
}

func set(machine string, cycles []Cycle, failed bool, ceiling float64) model.Set {
	s := model.Set{Machine: machine, Rows: make([][]float64, len(cycles)), Targets: make([]float64, len(cycles))}
	for i, c := range cycles {
		left := float64(len(cycles) - 1 - i)
		switch {
		case failed:
		case left >= ceiling:
			left = ceiling
		default:
			left = -1
		}
		s.Rows[i], s.Targets[i] = c.Features, left
	}
	return s
}

// Current returns the cycles of the life that lasts, of all cycles, oldest first.
func Current(cycles []Cycle, ends []End) []Cycle {
	for len(cycles) > 0 {
		n, _ := firstLife(cycles, ends)
		if n == len(cycles) && (len(ends) == 0 || ends[len(ends)-1].At.Before(cycles[n-1].At)) {
			return cycles
		}
		cycles = cycles[n:]
	}
	return nil
}
