package monitor

import (
	"math"
	"time"
)

// How the score is watched: an observation is the mean of a block.
const (
	// scoreFirst is how many observations tell how much they vary; then ADWIN begins.
	scoreFirst = 30
	// scoreRange is how many of their standard deviations ADWIN takes for the range of
	// observations, which it must know: chosen by millwright-lab drift.
	scoreRange = 10
	// scoreRemember is how long a change is told of.
	scoreRemember = 7 * 24 * time.Hour
)

// ScoreWatch watches the score of one machine in order for drift: a lasting change of
// its mean that is too small for an alarm. Days and weeks that come and go are none.
// Memory is fixed; a window allocates nothing. Not safe for concurrent use. The zero
// value is ready for use.
//
// Of the detectors in this package ADWIN alone keeps quiet when observations depend on
// each other as the hours of a working week do.
type ScoreWatch struct {
	n         int // windows in the block
	sum       float64
	first     [scoreFirst]float64
	have      int
	mean, std float64
	adwin     *ADWIN
	found     Drift // zero Since: nothing
	newest    time.Time
}

// Observe takes the relative score of a healthy window that ended at at. It says whether
// what is found changed.
func (s *ScoreWatch) Observe(at time.Time, score float64) bool {
	if !finite(score) {
		return false
	}
	s.sum += score
	if s.n++; s.n < Block {
		return false
	}
	mean := s.sum / Block
	s.n, s.sum = 0, 0
	if s.have < scoreFirst {
		s.begin(mean)
		return false
	}
	x := 0.5 + (mean-s.mean)/(scoreRange*s.std)
	drift := s.adwin.Observe(min(max(x, 0), 1))
	switch {
	case drift:
		news := s.found.Since.IsZero()
		statistic, limit := s.adwin.Statistic()
		unit := scoreRange * s.std
		s.newest = at
		if news {
			s.found = Drift{Monitor: NameADWIN, Subject: Score, Kind: Data, Since: at}
		}
		s.found.Statistic, s.found.Limit = statistic*unit, limit*unit
		return news
	case !s.found.Since.IsZero() && at.Sub(s.newest) > scoreRemember:
		s.found = Drift{}
		return true
	}
	return false
}

// begin takes one of the first observations.
func (s *ScoreWatch) begin(x float64) {
	s.first[s.have] = x
	if s.have++; s.have < scoreFirst {
		return
	}
	for _, x := range s.first {
		s.mean += x / scoreFirst
	}
	squares := 0.0
	for _, x := range s.first {
		squares += (x - s.mean) * (x - s.mean)
	}
	// A score that stands still would make any flicker drift: a thousandth is nothing.
	s.std = max(math.Sqrt(squares/(scoreFirst-1)), 1e-3)
	s.adwin = NewADWIN(0, 1)
}

// Found appends the drift of the score, if there is any: the difference of means, as
// scores, and from where on it counts.
func (s *ScoreWatch) Found(list []Drift) []Drift {
	if s.found.Since.IsZero() {
		return list
	}
	return append(list, s.found)
}

// Standing is what Resume needs to go on with what was found; nil if nothing was.
func (s *ScoreWatch) Standing() *Standing {
	if s.found.Since.IsZero() {
		return nil
	}
	return &Standing{Drift: s.found, Found: true, Began: s.newest}
}

// Resume goes on with what an earlier life found. ADWIN begins anew.
func (s *ScoreWatch) Resume(was Standing) {
	if was.Found && !was.Since.IsZero() && finite(was.Statistic) && finite(was.Limit) {
		s.found, s.newest = was.Drift, was.Began
	}
}
