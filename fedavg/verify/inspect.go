package verify

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// Inspection is what a round's updates are judged by.
type Inspection struct {
	Kind   Kind
	Policy Policy
	// History are the levels of recent rounds, oldest first.
	History []Level
	// Distrusted gateways are judged like all others, but nobody by them.
	Distrusted map[string]bool
}

// Inspect judges the updates of one round, in their order, and returns the level
// of those that passed and are not distrusted; ok is false if none did. It goes
// through the updates two or three times and holds two vectors of float64 of
// their size, however many there are. The same updates in the same order give
// the same verdicts.
func Inspect(updates fedavg.Updates, in Inspection) (verdicts []Verdict, level Level, ok bool, err error) {
	i := inspection{Inspection: in}
	if err := i.measure(updates); err != nil {
		return nil, Level{}, false, err
	}
	i.judgeSizes()
	if err := i.judgeDirections(updates); err != nil {
		return nil, Level{}, false, err
	}
	var accepted []Size
	for k := range i.verdicts {
		if i.verdicts[k].Offence == nil && i.trusted[k] {
			accepted = append(accepted, i.sizes[k])
		}
	}
	level, ok = levelOf(accepted)
	return i.verdicts, level, ok, nil
}

// inspection is Inspect at work; slices are parallel to the updates.
type inspection struct {
	Inspection
	verdicts   []Verdict
	sizes      []Size
	norms      []float64 // of the body, as a direction needs it
	trusted    []bool    // the others are judged by it
	dimensions int
}

func (i *inspection) measure(updates fedavg.Updates) error {
	n := updates.Len()
	i.verdicts, i.sizes = make([]Verdict, 0, n), make([]Size, 0, n)
	i.norms, i.trusted = make([]float64, 0, n), make([]bool, 0, n)
	return updates.Each(func(u *fedavg.Update) error {
		v := Verdict{Gateway: u.Agent, Made: []Check{CheckUsable}}
		if i.Kind == Sums {
			v.Made = append(v.Made, CheckSums)
			if why := ImpossibleSums(u); why != "" {
				v.fail(CheckSums, "no rows can have these sums: %s", why)
			}
		}
		body, _ := split(u.Vectors)
		i.dimensions = dimensions(body)
		i.verdicts = append(i.verdicts, v)
		i.sizes = append(i.sizes, SizeOf(u, i.Kind))
		i.norms = append(i.norms, norm(body))
		i.trusted = append(i.trusted, v.Offence == nil && !i.Distrusted[u.Agent])
		return nil
	})
}

// manyOthers is from how many trusted updates on one more or less does not move
// their medians, so that they need not be taken anew for each.
const manyOthers = 50

func (i *inspection) judgeSizes() {
	if i.Policy.MaxNorm < 0 {
		return
	}
	all := i.trustedBut(-1)
	common := boundsOf(all, i.History, i.Kind, i.Policy)
	for k := range i.verdicts {
		b := common
		if i.trusted[k] && len(all) < manyOthers {
			b = boundsOf(i.trustedBut(k), i.History, i.Kind, i.Policy)
		}
		b.judge(&i.verdicts[k], i.sizes[k])
	}
	for k, v := range i.verdicts {
		i.trusted[k] = i.trusted[k] && v.Offence == nil
	}
}

func (i *inspection) trustedBut(k int) []Size {
	var out []Size
	for other, s := range i.sizes {
		if i.trusted[other] && other != k {
			out = append(out, s)
		}
	}
	return out
}

// judgeDirections finds those who point against the others. The cosine with the
// mean of the others alone would let a few sign-flippers hide each other, so it
// only tells who is suspect; those who are not suspect, if they are the majority
// and agree among themselves, are what the suspects are then compared with.
func (i *inspection) judgeDirections(updates fedavg.Updates) error {
	voters := 0
	for k := range i.trusted {
		if i.trusted[k] = i.trusted[k] && i.norms[k] > 0; i.trusted[k] {
			voters++
		}
	}
	if voters < minOthers || i.Policy.MinCosine <= -1 {
		return nil
	}
	all := make(direction, i.dimensions)
	if err := i.each(updates, i.isTrusted, func(_ int, body []fedavg.Vector, norm float64) { all.add(body, norm) }); err != nil {
		return err
	}
	against := make(direction, i.dimensions) // sum of the suspects
	suspect := make([]bool, len(i.trusted))
	agreed := voters
	err := i.each(updates, i.isTrusted, func(k int, body []fedavg.Vector, norm float64) {
		if all.dot(body, norm) < 1 { // u·(all − u) < 0
			suspect[k] = true
			agreed--
			against.add(body, norm)
		}
	})
	if err != nil {
		return err
	}
	for k := range all {
		all[k] -= against[k]
	}
	return i.judgeSuspects(updates, all, suspect, agreed, voters)
}

// judgeSuspects compares the suspects, and the distrusted, with the sum of
// the directions of those who agree.
func (i *inspection) judgeSuspects(updates fedavg.Updates, sum direction, suspect []bool, agreed, voters int) error {
	square, m := sum.square(), float64(agreed)
	// Σ of unit vectors has square m + Σ of the cosines of all ordered pairs.
	together := (square - m) / (m * (m - 1))
	if agreed < minOthers || 2*agreed <= voters || !(together >= minAgreement(i.dimensions)) {
		return nil
	}
	for k := range i.verdicts {
		if i.norms[k] > 0 {
			i.verdicts[k].Made = append(i.verdicts[k].Made, CheckDirection)
		}
	}
	length := math.Sqrt(square)
	compared := func(k int) bool { return suspect[k] || (!i.trusted[k] && i.norms[k] > 0) }
	if !i.any(compared) {
		return nil
	}
	return i.each(updates, compared, func(k int, body []fedavg.Vector, norm float64) {
		if cosine := sum.dot(body, norm) / length; cosine < i.Policy.MinCosine {
			i.verdicts[k].fail(CheckDirection, "points against the round: cosine %.2f with the mean of %d others (limit %.2f), which agree by %.2f among themselves",
				cosine, agreed, i.Policy.MinCosine, together)
		}
	})
}

func (i *inspection) any(wanted func(int) bool) bool {
	for k := range i.verdicts {
		if wanted(k) {
			return true
		}
	}
	return false
}

func (i *inspection) isTrusted(k int) bool { return i.trusted[k] }

// each calls fn for the updates that are wanted.
func (i *inspection) each(updates fedavg.Updates, wanted func(int) bool, fn func(k int, body []fedavg.Vector, norm float64)) error {
	k := -1
	return updates.Each(func(u *fedavg.Update) error {
		if k++; wanted(k) {
			body, _ := split(u.Vectors)
			fn(k, body, i.norms[k])
		}
		return nil
	})
}
