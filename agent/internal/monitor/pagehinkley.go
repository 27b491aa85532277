package monitor

// PageHinkleyOptions tunes a PageHinkley. A zero field has its default.
type PageHinkleyOptions struct {
	Least  int     // observations before it speaks. Default 30
	Delta  float64 // change of the mean that is tolerated. Default 0.005
	Lambda float64 // sum of deviations at which it speaks. Default 50
	Alpha  float64 // what is left of the sum at the next observation. Default 0.9999
}

// PageHinkley speaks when deviations from the running mean add up in one direction.
// Delta and Lambda are in the unit of the observations, so standardise them. After
// drift it begins anew.
//
// Source: E. S. Page, Continuous inspection schemes, Biometrika 41 (1954) 100–115;
// D. V. Hinkley, Biometrika 58 (1971) 509–523; with fading as in MOA and river. Both
// directions are watched. With the defaults the tolerance is nearly nothing, so that
// the sum of independent standard normal observations walks to Lambda within some
// thousands of them, as millwright-lab drift shows.
type PageHinkley struct {
	o        PageHinkleyOptions
	n        int
	mean     float64
	up, down float64
	low      float64 // smallest up
	high     float64 // largest down
	drift    bool
}

// NewPageHinkley returns a PageHinkley.
func NewPageHinkley(o PageHinkleyOptions) *PageHinkley {
	defaultTo(&o.Least, 30)
	defaultTo(&o.Delta, 0.005)
	defaultTo(&o.Lambda, 50)
	defaultTo(&o.Alpha, 0.9999)
	return &PageHinkley{o: o}
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Observe takes an observation and reports drift. A number that is not finite is
// ignored.
func (p *PageHinkley) Observe(x float64) bool {
	if !finite(x) {
		return false
	}
	if p.drift {
		*p = PageHinkley{o: p.o}
	}
	p.n++
	p.mean += (x - p.mean) / float64(p.n)
	d := x - p.mean
	p.up = p.o.Alpha*p.up + d - p.o.Delta
	p.down = p.o.Alpha*p.down + d + p.o.Delta
	if p.n == 1 {
		p.low, p.high = p.up, p.down
	}
	p.low, p.high = min(p.low, p.up), max(p.high, p.down)
	statistic, limit := p.Statistic()
	p.drift = p.n >= p.o.Least && statistic > limit
	return p.drift
}

// Statistic returns how far deviations have added up, in the direction in which they
// have most, and where it speaks.
func (p *PageHinkley) Statistic() (sum, limit float64) {
	return max(p.up-p.low, p.high-p.down), p.o.Lambda
}
