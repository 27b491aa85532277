// Package drift measures monitors on generated data: how often they find drift where
// there is none, and how long they take where there is. The gateway's settings were
// chosen by it.
package drift

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/monitor"
)

// Report is what was measured.
type Report struct {
	Years float64 `json:"machine_years"` // of hourly scores, for each process
	// Monitors of the mean score of an hour.
	Monitors []Row `json:"monitors"`
	// Features is the gateway's monitor of features, of a machine with FeatureCount of them
	// in windows of 10 s, over FeatureYears for each process.
	FeatureCount int                `json:"feature_count"`
	FeatureYears float64            `json:"feature_machine_years"`
	Features     map[string]float64 `json:"features_found_per_machine_year"` // by process
}

// Row is one monitor.
type Row struct {
	Monitor string `json:"monitor"`
	// Found is how often drift was found in a machine-year without any, by process.
	Found map[string]float64 `json:"found_per_machine_year"`
	// Delay is how many hours it took to find a rise of the mean of independent
	// values, the mean over runs, by how many standard deviations it was; NaN if some run
	// went for a season without finding it.
	Delay map[string]*float64 `json:"delay_hours"`
}

// Process makes the values of something that does not change, around 0 with a standard
// deviation of about 1, by the hour; fractions of an hour may be asked for.
type Process struct {
	Name string
	New  func(r *rand.Rand) func(hour float64) float64
}

// Processes are what monitors are tried on.
func Processes() []Process {
	return []Process{
		{"independent", func(r *rand.Rand) func(float64) float64 { return func(float64) float64 { return r.NormFloat64() } }},
		{"skewed", func(r *rand.Rand) func(float64) float64 { return func(float64) float64 { return r.ExpFloat64() - 1 } }},
		{"dependent .3", autoregressive(0.3)},
		{"dependent .7", autoregressive(0.7)},
		{"daily", func(r *rand.Rand) func(float64) float64 {
			phase := r.Float64()
			return func(hour float64) float64 { return 0.7*r.NormFloat64() + math.Sin(2*math.Pi*(phase+hour/24)) }
		}},
		{"weekly", func(r *rand.Rand) func(float64) float64 {
			phase := 168 * r.Float64()
			return func(hour float64) float64 {
				x := 0.7 * r.NormFloat64()
				if math.Mod(phase+hour, 168) < 48 {
					x += 1.5
				}
				return x
			}
		}},
	}
}

// autoregressive values depend on the one before by rho.
func autoregressive(rho float64) func(r *rand.Rand) func(float64) float64 {
	return func(r *rand.Rand) func(float64) float64 {
		x := r.NormFloat64()
		return func(float64) float64 {
			x = rho*x + math.Sqrt(1-rho*rho)*r.NormFloat64()
			return x
		}
	}
}

// watch takes a value of an hour and says whether drift was found.
type watch func(at time.Time, x float64) bool

// monitors are those of this project: at the settings of their papers, and as the
// gateway watches a score.
var monitors = []struct {
	name string
	new  func() watch
}{
	{"page_hinkley", func() watch {
		m := monitor.NewPageHinkley(monitor.PageHinkleyOptions{})
		return func(_ time.Time, x float64) bool { return m.Observe(x) }
	}},
	{"kswin", func() watch {
		m := monitor.NewKSWIN(0)
		return func(_ time.Time, x float64) bool { return m.Observe(x) }
	}},
	{"adwin", func() watch { // which knows its observations to lie within 0 and 1
		m := monitor.NewADWIN(0, 1)
		return func(_ time.Time, x float64) bool { return m.Observe(0.5 + x/20) }
	}},
	{"gateway", func() watch {
		var m monitor.ScoreWatch
		return func(at time.Time, x float64) bool {
			before := len(m.Found(nil))
			for range monitor.Block {
				m.Observe(at, 0.4+0.05*x)
			}
			return before == 0 && len(m.Found(nil)) > 0
		}
	}},
}

const (
	hoursOfYear  = 365 * 24
	warmUp       = 400  // hours before a change
	season       = 2000 // hours after which a change counts as not found
	delayRuns    = 40
	featureCount = 64
)

var start = time.Unix(1.7e9, 0)

// Measure runs monitors for so many machine-years, and the monitor of features for a
// hundredth of them.
func Measure(ctx context.Context, years int) (*Report, error) {
	if years < 1 {
		return nil, fmt.Errorf("measure monitors: years is %d; it must be at least 1", years)
	}
	out := &Report{Years: float64(years), FeatureCount: featureCount, FeatureYears: float64(years) / 100, Features: map[string]float64{}}
	for _, m := range monitors {
		row := Row{Monitor: m.name, Found: map[string]float64{}, Delay: map[string]*float64{}}
		for _, p := range Processes() {
			found := 0
			for year := range years {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				value, w := p.New(rand.New(rand.NewPCG(uint64(year), 1))), m.new()
				for hour := range hoursOfYear {
					if w(start.Add(time.Duration(hour)*time.Hour), value(float64(hour))) {
						found++
					}
				}
			}
			row.Found[p.Name] = float64(found) / float64(years)
		}
		for _, by := range []float64{0.5, 1, 2} {
			row.Delay[fmt.Sprint(by)] = delay(m.new, by)
		}
		out.Monitors = append(out.Monitors, row)
	}
	for _, p := range Processes() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out.Features[p.Name] = float64(features(p, out.FeatureYears)) / out.FeatureYears
	}
	return out, nil
}

// delay is the mean time until a rise is found, nil if it was not in some run.
func delay(make func() watch, by float64) *float64 {
	sum := 0.0
	for run := range delayRuns {
		r, w := rand.New(rand.NewPCG(uint64(run), 2)), make()
		hour := 0
		at := func() time.Time { hour++; return start.Add(time.Duration(hour) * time.Hour) }
		for range warmUp {
			w(at(), r.NormFloat64())
		}
		n := 1
		for ; n <= season && !w(at(), r.NormFloat64()+by); n++ {
		}
		if n > season {
			return nil
		}
		sum += float64(n)
	}
	mean := sum / delayRuns
	return &mean
}

// features counts what the gateway's monitor of features finds on one machine.
func features(p Process, years float64) int {
	const window = 10 * time.Second
	values := make([]func(float64) float64, featureCount)
	names := make([]string, featureCount)
	for i := range values {
		values[i], names[i] = p.New(rand.New(rand.NewPCG(uint64(i), 3))), fmt.Sprint("f", i)
	}
	n := 0
	row := func(z []float64) time.Time {
		at := start.Add(time.Duration(n) * window)
		for i, value := range values {
			z[i] = value(float64(n) * window.Hours())
		}
		n++
		return at
	}
	baseline := make([][]float64, 300)
	for k := range baseline {
		baseline[k] = make([]float64, featureCount)
		row(baseline[k])
	}
	m := monitor.NewFeatures(names, baseline) // the scale does not matter to it
	found, now, z := 0, 0, make([]float64, featureCount)
	for range int(years * hoursOfYear * monitor.Block) {
		at := row(z)
		if !m.Observe(at, z) {
			continue
		}
		before := now
		now = len(m.Found(nil))
		found += max(0, now-before)
	}
	return found
}

// WriteTable prints the report for a person.
func (r *Report) WriteTable(w io.Writer) error {
	var names []string
	for _, p := range Processes() {
		names = append(names, p.Name)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "found in a machine-year without drift\t%s\tfound after h: 0.5σ\t1σ\t2σ\t\n", strings.Join(names, "\t"))
	for _, m := range r.Monitors {
		fmt.Fprintf(t, "%s\t", m.Monitor)
		for _, name := range names {
			fmt.Fprintf(t, "%.3g\t", m.Found[name])
		}
		for _, by := range []string{"0.5", "1", "2"} {
			if d := m.Delay[by]; d != nil {
				fmt.Fprintf(t, "%.0f\t", *d)
			} else {
				fmt.Fprint(t, "–\t")
			}
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "%d features\t", r.FeatureCount)
	for _, name := range names {
		fmt.Fprintf(t, "%.3g\t", r.Features[name])
	}
	fmt.Fprintln(t, "\t\t\t")
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "scores: means of an hour, %g machine-years each; features: windows of 10 s, %g machine-years each\n", r.Years, r.FeatureYears)
	return err
}
