package robust

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// Lookalike is why gateways with flipped labels are withstood but not put into
// quarantine for it: the cosines of updates with the mean of all others' directions, from
// the second round on. A gateway that alone has rows of a fault is as honest as can
// be, knows what nobody else does, and points away from the others, round after round, as
// one with flipped labels does.
type Lookalike struct {
	Honest  Cosines `json:"honest"`  // gateways beside flipped ones
	Flipped Cosines `json:"flipped"` // gateways with flipped labels
	Alone   Cosines `json:"alone"`   // the one honest gateway that has seen a fault
}

// Cosines are those of many updates.
type Cosines struct {
	Least  float64 `json:"least"`
	Median float64 `json:"median"`
	Most   float64 `json:"most"`
}

// aloneFault is the class that one gateway alone has rows of.
var aloneFault = float64(len(classes) - 1)

// lookalike measures under plain averaging, without verification.
func lookalike(ctx context.Context, cfg Config) (l Lookalike, err error) {
	w := newWorld(cfg)
	cosines, err := w.directions(ctx, attack{name: "label-flipped", poison: flipLabels})
	if err != nil {
		return l, err
	}
	l.Flipped, l.Honest = spreadOf(cosines[:cfg.Attackers]), spreadOf(cosines[cfg.Attackers:])
	// The first gateway has nothing but the fault, the others nothing of it.
	for g := range w.gateways {
		w.gateways[g] = only(w.gateways[g], func(class float64) bool { return (class == aloneFault) == (g == 0) })
	}
	if cosines, err = w.directions(ctx, attack{name: "none"}); err == nil {
		l.Alone = spreadOf(cosines[:1])
	}
	return l, err
}

// only returns the rows whose class is wanted.
func only(s model.Set, wanted func(class float64) bool) model.Set {
	out := model.Set{Machine: s.Machine}
	for i, c := range s.Targets {
		if wanted(c) {
			out.Rows, out.Targets = append(out.Rows, s.Rows[i]), append(out.Targets, c)
		}
	}
	return out
}

// directions runs a federation and returns, by gateway, its cosines with the mean of the
// others' directions from the second round on.
func (w *world) directions(ctx context.Context, a attack) ([][]float64, error) {
	f := &federation{world: w, attack: a, spec: spec(job.StrategySpec{Name: job.NameFedAvg})}
	var err error
	if f.family, err = f.spec.Family(); err != nil {
		return nil, err
	}
	f.global = f.family.Init(w.cfg.Seed)
	cosines := make([][]float64, len(w.gateways))
	for round := range w.cfg.Rounds {
		updates, err := f.train(ctx, uint64(round+1))
		if err != nil {
			return nil, err
		}
		for g, c := range cosinesOf(updates) {
			if round > 0 { // in the first everybody leaves the random beginning
				cosines[g] = append(cosines[g], c)
			}
		}
		result, err := fedavg.FedAvg{}.Aggregate(f.global, nil, updates)
		if err != nil {
			return nil, err
		}
		f.global = result.Vectors
	}
	return cosines, nil
}

// cosinesOf compares the direction of each update with the mean of all others'.
func cosinesOf(updates fedavg.Slice) []float64 {
	var units [][]float64
	var sum []float64
	for _, u := range updates {
		var x []float64
		for _, v := range u.Vectors {
			if v.Len() == 1 || v.Name == "fleet" { // counters, which have no direction; see fedavg/verify
				continue
			}
			for _, y := range v.F32 {
				x = append(x, float64(y))
			}
		}
		length := math.Sqrt(dot(x, x))
		sum = append(sum, make([]float64, len(x)-len(sum))...)
		for i := range x {
			x[i] /= length
			sum[i] += x[i]
		}
		units = append(units, x)
	}
	cosines := make([]float64, len(units))
	for g, x := range units {
		along := dot(x, sum) - 1 // x·(sum − x), of a unit vector
		cosines[g] = along / math.Sqrt(dot(sum, sum)-2*along-1)
	}
	return cosines
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

func spreadOf(lists [][]float64) Cosines {
	all := slices.Sorted(slices.Values(slices.Concat(lists...)))
	if len(all) == 0 { // of one round
		return Cosines{}
	}
	return Cosines{Least: all[0], Median: all[len(all)/2], Most: all[len(all)-1]}
}

func (l Lookalike) write(w io.Writer) {
	fmt.Fprintf(w, "\nwhy label-flipped are not caught: cosine of an update with the mean of the others, least, median and greatest\n")
	for _, line := range []struct {
		who string
		c   Cosines
	}{{"honest", l.Honest}, {"label-flipped", l.Flipped}, {"honest, alone with a fault", l.Alone}} {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\n", line.who, line.c.Least, line.c.Median, line.c.Most)
	}
}
