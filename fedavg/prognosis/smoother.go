package prognosis

import "math"

// smoothing is the time constant, in cycles, of the causal mean whose covariance
// gives the principal ways of wearing.
const smoothing = 10

// smoother keeps the causal mean of each channel that model.HealthSums asks for.
type smoother struct {
	channels []decay
	out      []float64
}

func newSmoother(channels int) *smoother {
	s := &smoother{channels: make([]decay, channels), out: make([]float64, channels)}
	for i := range s.channels {
		s.channels[i].keep = math.Exp(-1. / smoothing)
	}
	return s
}

// push adds a cycle and returns the means, valid until the next call.
func (s *smoother) push(z []float64) []float64 {
	for i := range s.channels {
		s.channels[i].push(z[i])
		s.out[i] = s.channels[i].mean()
	}
	return s.out
}
