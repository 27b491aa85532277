package features

import "github.com/millwright-iot/millwright/sensors/window"

// slope returns the least-squares slope of a segment over its sample times, per
// second: Σ(t−t̄)(x−x̄) / Σ(t−t̄)². ok is false when all times are equal.
func slope(s *window.Segment, mean float64) (perSecond float64, ok bool) {
	sum := 0.0
	for _, p := range s.Pieces {
		sum += float64(p.N) * p.OffsetS
		if p.N > 1 {
			sum += float64(p.N) * float64(p.N-1) / 2 / p.RateHz
		}
	}
	centre := sum / float64(len(s.Samples))
	var tx, tt float64
	i := 0
	for _, p := range s.Pieces {
		step := 0.0
		if p.N > 1 {
			step = 1 / p.RateHz
		}
		from := p.OffsetS - centre
		for j, x := range s.Samples[i : i+p.N] {
			t := from + float64(j)*step
			tx += t * (x - mean)
			tt += t * t
		}
		i += p.N
	}
	if tt == 0 {
		return 0, false
	}
	return tx / tt, true
}
