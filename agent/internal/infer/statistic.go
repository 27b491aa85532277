package infer

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// statistic makes of standardised feature vectors the number that is compared with
// the threshold: a model's score, of their exponential mean if the job smooths (the
// MEWMA of C. A. Lowry et al., Technometrics 34(1), 1992, with the model's distance), and
// summed up if the job asks for CUSUM (E. S. Page, Biometrika 41, 1954).
type statistic struct {
	weight float64   // of the newest vector in the mean; 1 without smoothing
	mean   []float64 // what was scored last; starts at 0, where the baseline's is

	allowance float64 // of the CUSUM, in standard deviations; 0 without
	centre    float64 // mean of scores in the baseline
	scale     float64 // 1/their standard deviation
	ceiling   float64 // sum is not let above: it would never come down again
	sum       float64
}

// cusumCeiling is where a CUSUM stops, relative to the threshold: well inside zone D.
const cusumCeiling = 4

func newStatistic(spec job.AlarmSpec, features int) statistic {
	s := statistic{weight: 1, allowance: spec.Cusum, scale: 1, ceiling: math.MaxFloat64, mean: make([]float64, features)}
	if spec.Smooth > 1 {
		s.weight = 2 / float64(spec.Smooth+1)
	}
	return s
}

// vector returns what the model is to score: the mean so far, with z. It is
// overwritten by the next call.
func (s *statistic) vector(z []float64) []float64 {
	if s.weight == 1 {
		copy(s.mean, z)
		return s.mean
	}
	for i, x := range z {
		s.mean[i] += float64(s.weight * (x - s.mean[i]))
	}
	return s.mean
}

// value returns what the score of vector leads to.
func (s *statistic) value(score float64) float64 {
	if s.allowance == 0 {
		return score
	}
	s.sum = min(max(0, s.sum+float64((score-s.centre)*s.scale)-s.allowance), s.ceiling)
	return s.sum
}

// observe is value of the score that m gives vector(z).
func (s *statistic) observe(m model.Model, z []float64) float64 { return s.value(m.Score(s.vector(z))) }

// blank returns s as it is before the first window, with memory of its own.
func (s *statistic) blank() statistic {
	fresh := *s
	fresh.mean, fresh.sum = make([]float64, len(s.mean)), 0
	return fresh
}

// centreOn takes mean and spread of scores, as far as the job's CUSUM needs them.
func (s *statistic) centreOn(scores []float64) {
	if s.allowance == 0 {
		return
	}
	n, mean, squares := float64(len(scores)), 0.0, 0.0
	for _, x := range scores {
		mean += x / n
	}
	for _, x := range scores {
		d := x - mean
		squares += float64(d * d)
	}
	s.centre, s.scale, s.ceiling = mean, 1, math.MaxFloat64
	if std := math.Sqrt(squares / max(1, n-1)); std > leastThreshold && std < math.MaxFloat64 {
		s.scale = 1 / std
	}
}
