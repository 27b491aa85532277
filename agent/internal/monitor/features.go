package monitor

import (
	"cmp"
	"slices"
	"time"
)

// How features are watched. A machine has dozens of them and is watched for years, and
// few are as they were in the hour of its baseline at any time of the day and on weekends;
// so what counts as drift differs in every block for three days, and has gone when it
// differed in none for as long. millwright-lab drift measures what that leaves of false
// findings.
const (
	// Block is how many healthy windows are compared with the baseline at once: an hour
	// of windows of 10 s.
	Block = 360
	// least is how many blocks in a row must differ, over lasting, until drift is found,
	// and how many must not until it has gone.
	least   = 3
	lasting = 3 * 24 * time.Hour
	// psiAlpha is the level at which one feature in one block is compared.
	psiAlpha = 0.01
	// batch is how many windows in a row make one mean from which spread learns how
	// much windows depend on each other.
	batch = 30
)

// Features watches the features of one machine for drift of data: it compares the
// distribution of each over healthy windows, block by block, with that over the
// machine's baseline by PSI. Memory is about 300 bytes a feature; a window allocates
// nothing. Not safe for concurrent use.
type Features struct {
	names   []string
	columns []column
	rows    int // of the baseline
	n       int // windows in the block
}

// column is one feature.
type column struct {
	edges     Edges
	was, is   Histogram
	wasWorth  float64 // independent values in the baseline
	spread    spread  // of the block
	run       int     // blocks in a row that say otherwise than found
	found     bool
	since     time.Time
	began     time.Time // of the first block of run
	statistic float64   // of the newest block
	limit     float64
}

// NewFeatures watches features of these names against a baseline of standardised rows,
// each as long as names. It keeps names and copies nothing else.
func NewFeatures(names []string, baseline [][]float64) *Features {
	f := &Features{names: names, columns: make([]column, len(names)), rows: len(baseline)}
	z := make([]float64, len(baseline))
	for i := range f.columns {
		c := &f.columns[i]
		s := spread{size: max(1, min(batch, len(baseline)/8))}
		for k, row := range baseline {
			z[k] = row[i]
			s.add(row[i])
		}
		c.wasWorth = s.worth()
		c.edges = EdgesOf(z) // sorts
		for _, x := range z {
			c.was.Add(&c.edges, x)
		}
		c.spread.size = batch
	}
	return f
}

// Observe takes a healthy window that ended at at: its features, standardised as the
// baseline was. It says whether what is found changed.
func (f *Features) Observe(at time.Time, z []float64) bool {
	if len(z) != len(f.columns) || f.rows == 0 {
		return false
	}
	for i := range f.columns {
		c := &f.columns[i]
		c.is.Add(&c.edges, z[i])
		c.spread.add(z[i])
	}
	if f.n++; f.n < Block {
		return false
	}
	f.n = 0
	changed := false
	for i := range f.columns {
		changed = f.columns[i].close(at) || changed
	}
	return changed
}

// close judges a complete block and begins the next.
func (c *column) close(at time.Time) (changed bool) {
	c.statistic = PSI(&c.is, &c.was)
	c.limit = PSILimit(c.edges.Bins(), c.spread.worth(), c.wasWorth, psiAlpha)
	c.is = Histogram{}
	c.spread = spread{size: batch}
	if (c.statistic > c.limit) == c.found {
		c.run = 0
		return false
	}
	if c.run == 0 {
		c.began = at
	}
	if c.run++; c.run < least || at.Sub(c.began) < lasting {
		return false
	}
	c.run = 0
	c.found, c.since = !c.found, c.began
	return true
}

// Found appends what has drifted, strongest first.
func (f *Features) Found(list []Drift) []Drift {
	from := len(list)
	for i := range f.columns {
		if c := &f.columns[i]; c.found {
			list = append(list, f.drift(i))
		}
	}
	strongestFirst(list[from:])
	return list
}

func (f *Features) drift(i int) Drift {
	c := &f.columns[i]
	return Drift{Monitor: NamePSI, Subject: f.names[i], Kind: Data, Statistic: c.statistic, Limit: c.limit, Since: c.since}
}

// Standing is what Resume needs to go on with a feature.
type Standing struct {
	Drift
	Found bool      `json:"found"`
	Began time.Time `json:"began,omitzero"` // first of Run blocks; of the score, newest time it spoke
	Run   int       `json:"run"`            // blocks in a row that say otherwise than Found
}

// Standings returns what is under way or found.
func (f *Features) Standings() []Standing {
	var list []Standing
	for i := range f.columns {
		if c := &f.columns[i]; c.found || c.run > 0 {
			list = append(list, Standing{f.drift(i), c.found, c.began, c.run})
		}
	}
	return list
}

// Resume goes on where an earlier life stopped; what is not of these features is
// ignored. The block under way is begun anew.
func (f *Features) Resume(list []Standing) {
	for _, s := range list {
		i := slices.Index(f.names, s.Subject)
		if i < 0 || s.Run < 0 || !finite(s.Statistic) || !finite(s.Limit) {
			continue
		}
		c := &f.columns[i]
		c.found, c.since, c.statistic, c.limit = s.Found, s.Since, s.Statistic, s.Limit
		c.run, c.began = s.Run, s.Began
	}
}

func strongestFirst(list []Drift) {
	slices.SortStableFunc(list, func(x, y Drift) int { return cmp.Compare(y.Statistic*x.Limit, x.Statistic*y.Limit) })
}

// spread estimates how many independent values a run of dependent ones is worth, from how
// much the means of batches vary: size·var(means) is the variance of a value if they
// are independent, and more if they wander.
//
// Source: H. Flyvbjerg, H. G. Petersen, Error estimates on averages of correlated
// data, J. Chem. Phys. 91 (1989) 461–466.
type spread struct {
	size, n, batches int
	sum, first       float64 // of the batch; first value of all, to subtract
	all, squares     float64
	means, squared   float64 // sums over batches
}

func (s *spread) add(x float64) {
	if s.n == 0 {
		s.first = x
	}
	x -= s.first
	s.all += x
	s.squares += x * x
	s.sum += x
	if s.n++; s.n%s.size == 0 {
		mean := s.sum / float64(s.size)
		s.means += mean
		s.squared += mean * mean
		s.batches++
		s.sum = 0
	}
}

// worth is between 1 and the number of values; with too few batches it is that number.
func (s *spread) worth() float64 {
	n := float64(max(s.n, 1))
	if s.batches < 4 {
		return n
	}
	variance := s.squares/n - (s.all/n)*(s.all/n)
	b := float64(s.batches)
	of := (s.squared - s.means*s.means/b) / (b - 1)
	if !(variance > 0) {
		return n
	}
	return max(1, min(n, n*variance/(float64(s.size)*of)))
}
