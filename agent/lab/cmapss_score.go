package lab

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// RULScore judges predictions of remaining life at the last cycle of each engine.
type RULScore struct {
	RMSE  float64 `json:"rmse"`  // cycles
	Score float64 `json:"score"` // Σ e^(−d/13)−1 for early, e^(d/10)−1 for late predictions (Saxena et al., PHM 2008)
	Bias  float64 `json:"bias"`  // mean of predicted − true
}

// scoreRUL compares predictions with truth, both limited to limit; +Inf limits
// nothing.
func scoreRUL(truth, predicted []float64, limit float64) RULScore {
	var s RULScore
	for i := range truth {
		d := min(predicted[i], limit) - min(truth[i], limit)
		s.RMSE += d * d
		s.Bias += d / float64(len(truth))
		if d < 0 {
			s.Score += math.Exp(-d/13) - 1
		} else {
			s.Score += math.Exp(d/10) - 1
		}
	}
	s.RMSE = math.Sqrt(s.RMSE / float64(len(truth)))
	return s
}

// predictTest follows each test engine, cycle by cycle, to its last.
func predictTest(fleet prognosis.Fleet, engines []Engine) ([]prognosis.Estimate, error) {
	estimates := make([]prognosis.Estimate, len(engines))
	for i, e := range engines {
		p, err := prognosis.NewPredictor(fleet)
		if err != nil {
			return nil, err
		}
		for k := range e.Len() {
			if err := p.Push(e.row(k)); err != nil {
				return nil, err
			}
		}
		estimates[i] = p.Estimate()
	}
	return estimates, nil
}
