package monitor

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const windowLength = 10 * time.Second

// process makes values of a feature, one a window, around 0 with standard deviation 1.
type process func(u *uniform) func(window int) float64

func independent(u *uniform) func(int) float64 { return func(int) float64 { return u.normal() } }

// wandering is autoregressive: values depend on each other over some ten windows.
func wandering(u *uniform) func(int) float64 {
	x := u.normal()
	return func(int) float64 {
		x = 0.9*x + math.Sqrt(1-0.81)*u.normal()
		return x
	}
}

// daily swings by twice its noise with the hour of the day.
func daily(u *uniform) func(int) float64 {
	phase := u.next()
	return func(window int) float64 {
		return u.normal() + 2*math.Sin(2*math.Pi*(phase+float64(window)/8640))
	}
}

// weekly is otherwise at weekends.
func weekly(u *uniform) func(int) float64 {
	return func(window int) float64 {
		if (window+3*day)%(7*day) < 2*day {
			return u.normal() + 2
		}
		return u.normal()
	}
}

// plant is one generated machine: it standardises features by a baseline of 300 windows,
// as a gateway does, and watches them.
type plant struct {
	features  *Features
	values    []func(int) float64
	mean, std []float64
	z         []float64
	window    int
	at        time.Time
	change    func(feature int, x float64) float64
}

func newPlant(features int, seed uint64, p process) *plant {
	m := &plant{z: make([]float64, features), mean: make([]float64, features), std: make([]float64, features), at: time.Unix(1.7e9, 0)}
	var names []string
	rows := make([][]float64, 300)
	for i := range features {
		u := uniform(seed*1000 + uint64(i))
		m.values = append(m.values, p(&u))
		names = append(names, fmt.Sprint("f", i))
	}
	for k := range rows {
		rows[k] = make([]float64, features)
		for i := range rows[k] {
			rows[k][i] = m.values[i](m.window)
			m.mean[i] += rows[k][i] / 300
		}
		m.window++
	}
	for i := range features {
		for _, row := range rows {
			m.std[i] += (row[i] - m.mean[i]) * (row[i] - m.mean[i]) / 299
		}
		m.std[i] = math.Sqrt(m.std[i])
		for _, row := range rows {
			row[i] = (row[i] - m.mean[i]) / m.std[i]
		}
	}
	m.features = NewFeatures(names, rows)
	return m
}

// run lets the machine run for so many windows and returns how often something was
// found, and how many windows it took until the first.
func (m *plant) run(windows int) (found, first int) {
	before := map[string]bool{}
	for n := range windows {
		for i, value := range m.values {
			x := value(m.window)
			if m.change != nil {
				x = m.change(i, x)
			}
			m.z[i] = (x - m.mean[i]) / m.std[i]
		}
		m.window++
		m.at = m.at.Add(windowLength)
		if !m.features.Observe(m.at, m.z) {
			continue
		}
		now := map[string]bool{}
		for _, d := range m.features.Found(nil) {
			now[d.Subject] = true
			if !before[d.Subject] {
				if found++; found == 1 {
					first = n + 1
				}
			}
		}
		before = now
	}
	return found, first
}

const day = 8640 // windows

// Nothing changes, whatever values look like: nothing is found. millwright-lab drift
// measures it for longer.
func TestFeatures_FalseAlarms(t *testing.T) {
	for name, p := range map[string]process{"independent": independent, "wandering": wandering, "daily": daily, "weekly": weekly} {
		found := 0
		for seed := range uint64(2) {
			n, _ := newPlant(6, seed+1, p).run(8 * day)
			found += n
		}
		if found > 0 {
			t.Errorf("%s: drift was found %d times in 16 machine-days of 6 features", name, found)
		}
	}
}

// A feature that changes for good is found after three days and is named; when it is as
// it was, that is seen after as long.
func TestFeatures_Delay(t *testing.T) {
	for name, c := range map[string]func(x float64) float64{
		"mean up by one standard deviation":      func(x float64) float64 { return x + 1 },
		"mean down by one standard deviation":    func(x float64) float64 { return x - 1 },
		"standard deviation twice what it was":   func(x float64) float64 { return 2 * x },
		"standard deviation half of what it was": func(x float64) float64 { return x / 2 },
		"stuck":                                  func(float64) float64 { return 0.1 },
	} {
		m := newPlant(4, 5, independent)
		if found, _ := m.run(2 * day); found > 0 {
			t.Fatalf("%s: drift before there was any", name)
		}
		began := m.at
		m.change = func(i int, x float64) float64 {
			if i == 3 {
				return c(x)
			}
			return x
		}
		found, first := m.run(4 * day)
		list := m.features.Found(nil)
		if found != 1 || len(list) != 1 {
			t.Errorf("%s: found %d times, now %+v", name, found, list)
			continue
		}
		d := list[0]
		if d.Subject != "f3" || d.Monitor != NamePSI || d.Kind != Data || !(d.Statistic > d.Limit) || d.Since.Sub(began) > 3*time.Hour {
			t.Errorf("%s: found %+v %v after it began", name, d, d.Since.Sub(began))
		}
		if hours := float64(first) / 360; hours < 72 || hours > 80 {
			t.Errorf("%s: found after %.0f h, want three days", name, hours)
		}
		m.change = nil
		if m.run(2 * day); len(m.features.Found(nil)) == 0 {
			t.Errorf("%s: gone after a weekend", name)
		}
		if m.run(2 * day); len(m.features.Found(nil)) > 0 {
			t.Errorf("%s: still found four days after it was gone", name)
		}
	}
}

// An agent that is started again every few hours finds what another finds.
func TestFeatures_Resume(t *testing.T) {
	m := newPlant(4, 9, independent)
	m.change = func(i int, x float64) float64 { return x + float64(i) } // f0 stays
	for range 20 {
		m.run(4 * 360)
		left := m.features.Standings()
		for i := range left {
			if left[i].Subject == "f1" {
				left[i].Statistic = math.NaN() // as from a damaged file
			}
		}
		again := newPlant(4, 9, independent)
		m.features = again.features
		m.features.Resume(append(left, Standing{Drift: Drift{Subject: "another"}, Found: true}))
	}
	var names []string
	for _, d := range m.features.Found(nil) {
		names = append(names, d.Subject)
	}
	if fmt.Sprint(names) != "[f3 f2]" {
		t.Errorf("after twenty starts in 80 h %v are found, want f3 and f2", names)
	}
}

func TestFeatures_BadInput(t *testing.T) {
	none := NewFeatures([]string{"a"}, nil)
	short := NewFeatures([]string{"a"}, [][]float64{{0.5}})
	for range 3 * Block {
		none.Observe(time.Now(), []float64{1})
		none.Observe(time.Now(), []float64{1, 2})
		short.Observe(time.Now(), []float64{math.NaN()})
	}
	if len(none.Found(nil)) > 0 || len(short.Found(nil)) > 0 {
		t.Error("drift against a baseline of nothing")
	}
	for _, d := range short.Standings() {
		if !finite(d.Statistic) || !finite(d.Limit) {
			t.Errorf("%+v", d)
		}
	}
}

func TestFeatures_AllocatesNothing(t *testing.T) {
	m := newPlant(16, 2, independent)
	at := m.at
	if n := testing.AllocsPerRun(2*Block, func() { at = at.Add(windowLength); m.features.Observe(at, m.z) }); n != 0 {
		t.Errorf("%v allocations a window", n)
	}
}

// hours is the mean score of hours, by a process.
func hours(p process, seed uint64) func(hour int) float64 {
	u := uniform(seed)
	f := p(&u)
	return func(hour int) float64 { return 0.4 + 0.05*f(hour) }
}

// week is a plant that runs otherwise at weekends, and from hour to hour as it likes.
func week(u *uniform) func(int) float64 {
	return func(hour int) float64 {
		if hour%168 < 48 {
			return u.normal()*0.7 + 1.5
		}
		return u.normal() * 0.7
	}
}

func (s *ScoreWatch) hour(at time.Time, x float64) (changed bool) {
	for range Block {
		changed = s.Observe(at, x) || changed
	}
	return changed
}

func TestScore_FalseAlarms(t *testing.T) {
	for name, p := range map[string]process{"independent": independent, "week": week} {
		for seed := range uint64(5) {
			var s ScoreWatch
			at, x := time.Unix(1.7e9, 0), hours(p, seed+1)
			for h := range 2000 {
				if at = at.Add(time.Hour); s.hour(at, x(h)) {
					t.Errorf("%s, seed %d: drift after %d h: %+v", name, seed, h, s.Found(nil))
				}
			}
		}
	}
}

// A score that rises by two standard deviations of its hourly means, far below the
// alarm threshold, is told within a week, for a week, and remembered over a restart.
func TestScore_Delay(t *testing.T) {
	var s ScoreWatch
	at, x := time.Unix(1.7e9, 0), hours(independent, 8)
	for h := range 400 {
		at = at.Add(time.Hour)
		s.hour(at, x(h))
	}
	found := 0
	for h := 1; h <= 168 && found == 0; h++ {
		if at = at.Add(time.Hour); s.hour(at, x(h)+0.1) {
			found = h
		}
	}
	list := s.Found(nil)
	if found == 0 || len(list) != 1 || list[0].Monitor != NameADWIN || list[0].Subject != Score || !(list[0].Statistic > list[0].Limit) {
		t.Fatalf("found after %d h: %+v", found, list)
	}
	if d := list[0].Statistic; d < 0.02 || d > 0.1 {
		t.Errorf("the means differ by %v, want some of the 0.1 by which the score rose", d)
	}
	var again ScoreWatch
	again.Resume(*s.Standing())
	if len(again.Found(nil)) != 1 {
		t.Error("a restart forgot it")
	}
	gone := 0
	for h := 1; h <= 1000 && gone == 0; h++ {
		at = at.Add(time.Hour)
		if s.hour(at, x(h)+0.1); len(s.Found(nil)) == 0 {
			gone = h
		}
	}
	if gone < 168 {
		t.Errorf("forgotten after %d h, want a week or more", gone)
	}
	var constant ScoreWatch
	for h := range 500 {
		if constant.hour(at.Add(time.Duration(h)*time.Hour), 0.2) || constant.Observe(at, math.NaN()) {
			t.Fatal("a score that stands still drifts")
		}
	}
}

// One window of a machine with 64 features.
func BenchmarkFeatures_Observe(b *testing.B) {
	m := newPlant(64, 1, independent)
	for i, value := range m.values {
		m.z[i] = value(0)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.features.Observe(m.at, m.z)
	}
}
