package job

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// AlarmSpec turns scores into alarms. Scores are compared with the machine's own
// healthy baseline, never with labels.
type AlarmSpec struct {
	// Baseline is how many windows of a new machine count as healthy and set its
	// mean, standard deviation and threshold. Default 300.
	Baseline int `yaml:"baseline" json:"baseline"`
	// Threshold times the largest baseline score is the alarm threshold; scores
	// are reported relative to it, so 1 means alarm. Default 1.5.
	Threshold float64 `yaml:"threshold" json:"threshold"`
	// OnDelay is how many windows in a row must be above the threshold before
	// an alarm is raised. Default 3.
	OnDelay int `yaml:"on_delay" json:"on_delay"`
	// Clear: an alarm ends when the score falls below the threshold, or, since a
	// machine may keep an offset after a fault, below Clear times the alarm's
	// peak. 0 < Clear < 1; default 0.3.
	Clear float64 `yaml:"clear" json:"clear"`

	// Smooth > 1 scores the exponential mean of the standardised features, each
	// window weighing 2/(Smooth+1), instead of the features themselves: a small lasting
	// change shows sooner, a short one later. Default 0: no smoothing.
	Smooth int `yaml:"smooth" json:"smooth,omitempty"`
	// Cusum > 0 scores the sum of how far scores exceed their baseline mean by more
	// than Cusum standard deviations, never below 0 (Page's CUSUM, allowance k); 0.5
	// is customary. Default 0: the score itself.
	Cusum float64 `yaml:"cusum" json:"cusum,omitempty"`
	// Budget > 0 replaces Threshold: the threshold is where a machine in order raises
	// at most so many false alarms in 30 days of operation. Default 0.
	Budget float64 `yaml:"budget" json:"budget,omitempty"`
	// CostFalse and CostMissed replace Threshold in jobs whose score is a
	// probability (softmax with a healthy class, unbalanced): what a false alarm and
	// what a fault not told of cost, in any unit. The threshold is CostFalse/(CostFalse+CostMissed).
	// A live job to diagnose that gives them raises alarms as one to detect does, in
	// the same episode.
	CostFalse  float64 `yaml:"cost_false" json:"cost_false,omitempty"`
	CostMissed float64 `yaml:"cost_missed" json:"cost_missed,omitempty"`
}

// Probability is the threshold that the costs make, 0 if none are given: alarm when
// p·CostMissed > (1−p)·CostFalse.
func (a AlarmSpec) Probability() float64 {
	if a.CostFalse <= 0 || a.CostMissed <= 0 {
		return 0
	}
	return 1 / (1 + a.CostMissed/a.CostFalse)
}

const (
	maxSmooth  = 1 << 20
	maxBudget  = 1000 // more than one an hour is no alarm
	maxOnDelay = 1 << 20
	leastCosts = 1e-6 // of one cost to the other
)

func (a AlarmSpec) validate(ps *problems, m model.Spec) {
	if a.Baseline < 2 {
		ps.add("alarm.baseline", "is %d; it must be at least 2 windows", a.Baseline)
	}
	if !(a.Threshold > 0) || math.IsInf(a.Threshold, 0) {
		ps.add("alarm.threshold", "is %v; it must be a positive number", a.Threshold)
	}
	if a.OnDelay < 1 || a.OnDelay > maxOnDelay {
		ps.add("alarm.on_delay", "is %d; it must be at least 1 window and at most %d", a.OnDelay, maxOnDelay)
	}
	if !(a.Clear > 0 && a.Clear < 1) {
		ps.add("alarm.clear", "is %v; it must be above 0 and below 1", a.Clear)
	}
	if a.Smooth < 0 || a.Smooth > maxSmooth {
		ps.add("alarm.smooth", "is %d; it must be 0 (no smoothing) or a number of windows, such as 15", a.Smooth)
	}
	if !(a.Cusum >= 0 && a.Cusum <= 100) {
		ps.add("alarm.cusum", "is %v; it must be 0 (no CUSUM) or a number of standard deviations, such as 0.5", a.Cusum)
	}
	if !(a.Budget >= 0 && a.Budget <= maxBudget) {
		ps.add("alarm.budget", "is %v; it must be 0 (none) or how many false alarms a machine may raise a month, such as 1, at most %v", a.Budget, maxBudget)
	}
	a.validateCosts(ps, m)
}

func (a AlarmSpec) validateCosts(ps *problems, m model.Spec) {
	if a.CostFalse == 0 && a.CostMissed == 0 {
		return
	}
	ratio := a.CostFalse / a.CostMissed
	switch {
	case !(a.CostFalse > 0 && a.CostMissed > 0) || !(ratio >= leastCosts && ratio <= 1/leastCosts):
		ps.add("alarm.cost_false", "is %v with cost_missed %v; give both, positive and less than a millionfold apart", a.CostFalse, a.CostMissed)
	case m.Softmax == nil || m.Softmax.Healthy == "":
		ps.add("alarm.cost_false", "needs a score that is a probability; only model softmax with `healthy` has one")
	case !m.Softmax.Unbalanced:
		ps.add("alarm.cost_false", "needs model.softmax.unbalanced: true; else all classes count alike, and a rare fault seems as likely as no fault")
	case a.Budget > 0 || a.Cusum > 0 || a.Smooth > 1:
		ps.add("alarm.cost_false", "is given beside budget, cusum or smooth, under which the score is no probability; keep one of them")
	}
}
