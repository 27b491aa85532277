package verify

import (
	"fmt"
	"math"
	"slices"
)

// Check names what an update can fail.
type Check string

// The checks, in the order in which they are made.
const (
	CheckUsable    Check = "usable"    // right shape and finite numbers; made at the door
	CheckSums      Check = "sums"      // sums that rows can have; see ImpossibleSums
	CheckWeight    Check = "weight"    // claims no more rows than can be
	CheckNorm      Check = "norm"      // not too large
	CheckDirection Check = "direction" // does not point against the others
)

// Offence is a check that an update failed.
type Offence struct {
	Check  Check  `json:"check"`
	Reason string `json:"reason"` // for a person, with the numbers
}

// Verdict is what the checks say of one gateway's update.
type Verdict struct {
	Gateway string
	// Offence is nil if every check that could be made was passed.
	Offence *Offence
	// Made are the checks there was something to go by for.
	Made []Check
}

// Passed says whether check could be made, and the update failed none.
func (v *Verdict) Passed(check Check) bool {
	return v.Offence == nil && slices.Contains(v.Made, check)
}

// fail records an offence, the first one only.
func (v *Verdict) fail(check Check, format string, args ...any) {
	if v.Offence == nil {
		v.Offence = &Offence{Check: check, Reason: fmt.Sprintf(format, args...)}
	}
}

// Level is how large the accepted updates of one round were.
type Level struct {
	Body        float64 `json:"body"` // medians
	Counters    float64 `json:"counters"`
	MaxBody     float64 `json:"max_body"` // largest
	MaxCounters float64 `json:"max_counters"`
}

// levelOf returns the level of accepted updates; false if there were none.
func levelOf(accepted []Size) (Level, bool) {
	if len(accepted) == 0 {
		return Level{}, false
	}
	body, counters := column(accepted, body), column(accepted, counters)
	return Level{
		Body: median(body), Counters: median(counters),
		MaxBody: slices.Max(body), MaxCounters: slices.Max(counters),
	}, true
}

func body(s Size) float64     { return s.Body }
func counters(s Size) float64 { return s.Counters }
func weight(s Size) float64   { return s.Weight }

func column[T any](rows []T, of func(T) float64) []float64 {
	out := make([]float64, len(rows))
	for i, r := range rows {
		out[i] = of(r)
	}
	return out
}

// bounds is what sizes are judged by.
type bounds struct {
	weight float64 // median of the others, 0 if they are too few
	parts  []bound
}

// bound is the limit of one part of a size.
type bound struct {
	name         string
	of           func(Size) float64
	usual, limit float64
}

// boundsOf takes the bounds of the others in the round that are trusted and of
// the history, oldest first.
func boundsOf(others []Size, history []Level, kind Kind, policy Policy) bounds {
	var b bounds
	if len(others) >= minOthers {
		b.weight = median(column(others, weight))
	}
	what := "norm"
	if kind == Sums {
		what = "size of its sums per row"
	}
	for _, part := range []struct {
		name         string
		of           func(Size) float64
		median, most func(Level) float64
	}{
		{what, body, func(l Level) float64 { return l.Body }, func(l Level) float64 { return l.MaxBody }},
		{what + " of counts", counters, func(l Level) float64 { return l.Counters }, func(l Level) float64 { return l.MaxCounters }},
	} {
		usual, limit, ok := limitOf(column(others, part.of), column(history, part.median), column(history, part.most), policy.MaxNorm)
		if ok {
			b.parts = append(b.parts, bound{part.name, part.of, usual, limit})
		}
	}
	return b
}

// judge judges the size of one update.
func (b bounds) judge(v *Verdict, s Size) {
	if b.weight > 0 {
		v.Made = append(v.Made, CheckWeight)
		if s.Weight > maxWeight*b.weight {
			v.fail(CheckWeight, "claims %.6g rows, %.0f times the others' median of %.6g (limit %d times)", s.Weight, s.Weight/b.weight, b.weight, maxWeight)
		}
	}
	if len(b.parts) > 0 {
		v.Made = append(v.Made, CheckNorm)
	}
	for _, part := range b.parts {
		if x := part.of(s); x > part.limit {
			v.fail(CheckNorm, "%s is %.4g, %.0f times the fleet's usual %.4g (limit %.0f times)", part.name, x, x/part.usual, part.usual, part.limit/part.usual)
		}
	}
}

// limitOf returns what is usual and the most that is allowed, or false if there is
// nothing to go by. medians and largest are those of past rounds.
func limitOf(others, medians, largest []float64, maxRatio float64) (usual, limit float64, ok bool) {
	others = slices.DeleteFunc(others, func(x float64) bool { return x == 0 }) // learned nothing: says nothing
	enough := len(medians) >= minHistory
	switch {
	case len(others) >= minOthers:
		usual = median(others)
		limit = usual * max(maxRatio, min(spread(others), maxRatio*maxRatio))
		if enough {
			if past := median(medians); past*maxRatio > limit {
				usual, limit = past, past*maxRatio
			}
		}
	case enough:
		usual = median(medians)
		limit = maxRatio * median(largest)
	}
	return usual, limit, usual > 0
}

// spread is by what factor a value may exceed the median of xs, all positive, as
// far as their own spread goes.
func spread(xs []float64) float64 {
	m := math.Log(median(xs))
	deviations := make([]float64, len(xs))
	for i, x := range xs {
		deviations[i] = math.Abs(math.Log(x) - m)
	}
	return math.Exp(spreadLimit * median(deviations))
}

// median returns the mean of the middle two for an even number, and 0 of none. It
// does not keep or change xs.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(xs))
	n := len(s)
	return s[(n-1)/2]/2 + s[n/2]/2
}
