package lab

import (
	"fmt"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/sensors/bearing"
)

// cwruClasses are the parts in the order of classes.
var cwruClasses = []bearing.Part{bearing.OuterRace, bearing.InnerRace, bearing.Ball}

// In rows of evidence the vector is outer race, inner race, ball and cage, in dB.
func evidenceIn(v []float64) bearing.Evidence {
	return bearing.Evidence{OuterDB: v[0], InnerDB: v[1], BallDB: v[2], CageDB: v[3]}
}

// The threshold of the physical rule is learned from counts, which add up over
// participants: by 0.1 dB of the stronger race's SNR, windows of damaged balls, and
// of damaged races.
const (
	raceBins  = 600
	raceBinDB = 0.1
)

var raceLayout = fedavg.Layout{{Name: "balls", DType: fedavg.Float64, Len: raceBins}, {Name: "races", DType: fedavg.Float64, Len: raceBins}}

// learnRaceDB merges the participants' counts and returns the middle of the
// thresholds that make the fewest errors, balls and races weighing alike.
func learnRaceDB(participants [][]faultRow) (float64, error) {
	var all [][]fedavg.Vector
	for _, rows := range participants {
		counts := raceLayout.New()
		for _, r := range rows {
			e := evidenceIn(r.vector)
			bin := min(max(int(max(e.OuterDB, e.InnerDB)/raceBinDB), 0), raceBins-1)
			if cwruClasses[r.class] == bearing.Ball {
				counts[0].F64[bin]++
			} else {
				counts[1].F64[bin]++
			}
		}
		all = append(all, counts)
	}
	merged, err := addUp(raceLayout, all)
	if err != nil {
		return 0, err
	}
	balls, races := total(merged[0].F64), total(merged[1].F64)
	if balls == 0 || races == 0 {
		return 0, fmt.Errorf("learn the threshold of races: %g windows of balls and %g of races; both are needed", balls, races)
	}
	best, sum, n := math.Inf(1), 0.0, 0.0
	below, above := 0.0, 1.0 // shares of races below the threshold, of balls from it on
	for i := range raceBins {
		if wrong := below + above; wrong < best-1e-9 {
			best, sum, n = wrong, float64(i)*raceBinDB, 1
		} else if wrong < best+1e-9 {
			sum, n = sum+float64(i)*raceBinDB, n+1
		}
		below += merged[1].F64[i] / races
		above -= merged[0].F64[i] / balls
	}
	return sum / n, nil
}

func total(xs []float64) (sum float64) {
	for _, x := range xs {
		sum += x
	}
	return sum
}

// ruleAnswers accuses by the physical rule. A ball that is named only because
// nothing else shows is a guess: its answer is "unknown".
func ruleAnswers(raceDB float64, rows []faultRow) []answer {
	var all []answer
	for i := range rows {
		v := evidenceIn(rows[i].vector).Accuse(raceDB)
		a := answer{row: &rows[i], probabilities: []float64{0, 0, 0}, said: slices.Index(cwruClasses, v.Part)}
		a.probabilities[a.said] = 1
		e := evidenceIn(rows[i].vector)
		a.scores = []float64{e.OuterDB - raceDB, e.InnerDB - raceDB, raceDB - max(e.OuterDB, e.InnerDB)}
		if v.Eliminated {
			a.said, a.probabilities = -1, []float64{0.25, 0.25, 0.5}
		}
		all = append(all, a)
	}
	return all
}

// largestAnswers is the rule that needs no threshold: the highest SNR wins.
func largestAnswers(rows []faultRow) []answer {
	var all []answer
	for i := range rows {
		said := mostLikely(rows[i].vector[:len(cwruClasses)])
		p := make([]float64, len(cwruClasses))
		p[said] = 1
		all = append(all, answer{row: &rows[i], probabilities: p, said: said, scores: rows[i].vector[:len(cwruClasses)]})
	}
	return all
}

// meanEvidence is the mean over all windows of a machine, in dB.
func meanEvidence(rows []faultRow) map[string][]float64 {
	mean, n := map[string][]float64{}, map[string]float64{}
	for _, r := range rows {
		if mean[r.machine] == nil {
			mean[r.machine] = make([]float64, cwruSNRs)
		}
		n[r.machine]++
		for i := range cwruSNRs {
			mean[r.machine][i] += (r.vector[i] - mean[r.machine][i]) / n[r.machine]
		}
	}
	return mean
}

// clues turns evidence into what a linear classifier can weigh: how surely the outer
// race shows, and the inner, from 0 to 1 with the middle at raceDB; and whether the
// ball stands above both. Beyond a few dB above the threshold more says no more.
func clues(v []float64, raceDB float64) []float64 {
	e := evidenceIn(v)
	shows := func(dB float64) float64 { return 1 / (1 + math.Exp(-dB)) }
	return []float64{shows(e.OuterDB - raceDB), shows(e.InnerDB - raceDB), shows(e.BallDB - max(e.OuterDB, e.InnerDB))}
}

// mapped returns rows with other vectors.
func mapped(rows []faultRow, f func(v []float64) []float64) []faultRow {
	out := slices.Clone(rows)
	for i := range out {
		out[i].vector = f(rows[i].vector)
	}
	return out
}
