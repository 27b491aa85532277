package verify

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

// delta is an update of a gradient job with a counter of 1 beside the deltas, as
// the autoencoder has.
func delta(gateway string, xs ...float64) *fedavg.Update {
	u := &fedavg.Update{Job: "j", Round: 1, Attempt: 1, Agent: gateway, Weight: 100, Vectors: []fedavg.Vector{
		{Name: "w", F32: make([]float32, len(xs))}, {Name: "rounds", F32: []float32{1}}}}
	for i, x := range xs {
		u.Vectors[0].F32[i] = float32(x)
	}
	return u
}

// fleet makes n honest updates of d parameters around a common direction, with
// the given ratio of noise to signal, and lengths from 1 to 3.
func fleet(r *rand.Rand, n, d int, noise float64) []*fedavg.Update {
	common := unit(r, d)
	us := make([]*fedavg.Update, n)
	for k := range us {
		own, xs := unit(r, d), make([]float64, d)
		length := 1 + 2*r.Float64()
		for i := range xs {
			xs[i] = length * (common[i] + noise*own[i])
		}
		us[k] = delta(fmt.Sprintf("g%02d", k), xs...)
	}
	return us
}

func unit(r *rand.Rand, d int) []float64 {
	xs, s := make([]float64, d), 0.0
	for i := range xs {
		xs[i] = r.NormFloat64()
		s += xs[i] * xs[i]
	}
	for i := range xs {
		xs[i] /= math.Sqrt(s)
	}
	return xs
}

func scale(u *fedavg.Update, by float32) {
	for _, v := range u.Vectors {
		for i := range v.F32 {
			v.F32[i] *= by
		}
	}
}

func inspect(t *testing.T, us []*fedavg.Update, history []Level, distrusted ...string) map[string]Verdict {
	t.Helper()
	in := Inspection{Kind: Deltas, Policy: DefaultPolicy(), History: history, Distrusted: map[string]bool{}}
	for _, g := range distrusted {
		in.Distrusted[g] = true
	}
	verdicts, _, _, err := Inspect(fedavg.Slice(us), in)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]Verdict{}
	for _, v := range verdicts {
		by[v.Gateway] = v
	}
	return by
}

// accused lists the gateways with an offence as "gateway:check".
func accused(vs map[string]Verdict) []string {
	var out []string
	for g, v := range vs {
		if v.Offence != nil {
			out = append(out, g+":"+string(v.Offence.Check))
		}
	}
	slices.Sort(out)
	return out
}

func wantAccused(t *testing.T, vs map[string]Verdict, want ...string) {
	t.Helper()
	if got := accused(vs); !slices.Equal(got, want) {
		t.Errorf("accused %v, want %v", got, want)
		for g, v := range vs {
			if v.Offence != nil {
				t.Logf("%s: %s", g, v.Offence.Reason)
			}
		}
	}
}

func TestInspect_FindsOffendersInTheFirstRound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for name, test := range map[string]struct {
		spoil func(us []*fedavg.Update)
		want  []string
	}{
		"nobody":              {func([]*fedavg.Update) {}, nil},
		"a thousand times":    {func(us []*fedavg.Update) { scale(us[3], 1000) }, []string{"g03:norm"}},
		"counter alone":       {func(us []*fedavg.Update) { us[3].Vectors[1].F32[0] = 1e6 }, []string{"g03:norm"}},
		"sign":                {func(us []*fedavg.Update) { scale(us[3], -1) }, []string{"g03:direction"}},
		"three of ten":        {func(us []*fedavg.Update) { scale(us[1], -1); scale(us[4], -1); scale(us[8], -1) }, []string{"g01:direction", "g04:direction", "g08:direction"}},
		"rows beyond belief":  {func(us []*fedavg.Update) { us[5].Weight = 1e9 }, []string{"g05:weight"}},
		"sign, and large":     {func(us []*fedavg.Update) { scale(us[3], -1000) }, []string{"g03:norm"}},
		"nothing learned":     {func(us []*fedavg.Update) { scale(us[3], 0) }, nil},
		"beyond float64":      {func(us []*fedavg.Update) { scale(us[3], 1e30) }, []string{"g03:norm"}},
		"many rows, honestly": {func(us []*fedavg.Update) { us[5].Weight = 90000 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			us := fleet(r, 10, 200, 0.6)
			test.spoil(us)
			wantAccused(t, inspect(t, us, nil), test.want...)
		})
	}
}

// In a federation of two or three nobody can say who is the odd one.
func TestInspect_SmallFederationsAccuseNobodyByEachOther(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for n := 1; n <= 3; n++ {
		for _, by := range []float32{1000, -1, -1000} {
			us := fleet(r, n, 100, 0.5)
			scale(us[0], by)
			wantAccused(t, inspect(t, us, nil))
		}
	}
}

// With history they can: two gateways whose norms have been 1 and 30 for five
// rounds may send that, and not 1000.
func TestInspect_SmallFederationsGoByTheirHistory(t *testing.T) {
	history := slices.Repeat([]Level{{Body: 15.5, MaxBody: 30, Counters: 1, MaxCounters: 1}}, 5)
	us := []*fedavg.Update{delta("a", 1, 0), delta("b", 0, 200)}
	wantAccused(t, inspect(t, us, history))
	us[1] = delta("b", 0, 1000)
	wantAccused(t, inspect(t, us, history), "b:norm")
	wantAccused(t, inspect(t, us, history[1:])) // four rounds are too few
	us = us[1:]
	wantAccused(t, inspect(t, us, history), "b:norm") // alone
}

// A fleet whose norms spread by nature is not held to the ten times: spread here
// is ln 4 in MAD, so exp(6·1.4826·ln 4) = 227 000 times, bounded to 10² = 100.
func TestInspect_SpreadWidensTheLimit(t *testing.T) {
	us := []*fedavg.Update{delta("a", 1, 0), delta("b", 4, 0), delta("c", 16, 0), delta("d", 64, 0), delta("e", 256, 0), delta("f", 390, 0)}
	wantAccused(t, inspect(t, us, nil))
	us[5] = delta("f", 5000, 0)
	wantAccused(t, inspect(t, us, nil), "f:norm")
}

// At the fixed point of averaging the deltas sum to zero, so that each points
// exactly against the mean of the others: cosine −1 for everyone, nobody to blame.
func TestInspect_NobodyIsToBlameAtTheFixedPoint(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{4, 5, 10, 40} {
		us := fleet(r, n, 300, 5)
		mean := make([]float64, 300)
		for _, u := range us {
			for i, x := range u.Vectors[0].F32 {
				mean[i] += float64(x) / float64(n)
			}
		}
		for _, u := range us {
			for i := range u.Vectors[0].F32 {
				u.Vectors[0].F32[i] -= float32(mean[i])
			}
		}
		wantAccused(t, inspect(t, us, nil))
	}
}

// Directions that have nothing to do with each other accuse nobody, whatever the
// number of parameters: 3000 random federations, fixed seed.
func TestInspect_NoiseAccusesNobody(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	rounds := 0
	for _, d := range []int{2, 3, 5, 10, 30, 100} {
		for _, n := range []int{4, 5, 7, 10, 30} {
			for range 100 {
				us := fleet(r, n, d, 1e6)
				for _, u := range us { // lengths of unit vectors times 1e6
					scale(u, 1e-6)
					u.Vectors[1].F32[0] = 1
				}
				if got := accused(inspect(t, us, nil)); len(got) > 0 {
					t.Errorf("%d agents, %d parameters: accused %v", n, d, got)
				}
				rounds++
			}
		}
	}
	if rounds != 3000 {
		t.Errorf("%d rounds", rounds)
	}
}

// Plants differ: two kinds, whose directions are at a right angle, live in peace.
func TestInspect_TwoKindsOfPlants(t *testing.T) {
	var us []*fedavg.Update
	for k := range 10 {
		xs := make([]float64, 100)
		xs[k/7] = 1
		xs[2+k] = 0.3
		us = append(us, delta(fmt.Sprintf("g%02d", k), xs...))
	}
	wantAccused(t, inspect(t, us, nil))
}

func TestInspect_NobodyIsJudgedByTheDistrusted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	us := fleet(r, 10, 100, 0.5)
	for k := range 6 { // the majority by number, but not by trust
		scale(us[k], -1)
	}
	liars := []string{"g00", "g01", "g02", "g03", "g04", "g05"}
	var want []string
	for _, g := range liars {
		want = append(want, g+":direction")
	}
	vs := inspect(t, us, nil, liars...)
	wantAccused(t, vs, want...)

	scale(us[0], -1) // it turned honest
	v := inspect(t, us, nil, liars...)["g00"]
	if v.Offence != nil || !v.Passed(CheckDirection) || !v.Passed(CheckNorm) {
		t.Errorf("reformed gateway: %+v", v)
	}
	v = inspect(t, us[:7], nil, liars...)["g00"] // only one trusted is left to ask
	if v.Passed(CheckDirection) || v.Passed(CheckNorm) {
		t.Errorf("passed without anyone to compare with: %+v", v)
	}
}

func TestInspect_Off(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	us := fleet(r, 6, 100, 0.3)
	scale(us[0], 1000)
	scale(us[1], -1)
	vs, _, _, err := Inspect(fedavg.Slice(us), Inspection{Kind: Deltas, Policy: Policy{MaxNorm: -1, MinCosine: -1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		if v.Offence != nil {
			t.Errorf("%s: %v", v.Gateway, v.Offence)
		}
	}
}

// The level of a round is that of the accepted alone; by hand.
func TestInspect_Level(t *testing.T) {
	us := []*fedavg.Update{delta("a", 3, 4), delta("b", 6, 8), delta("c", 0, 7), delta("d", 5, 0), delta("e", 900, 0)}
	_, level, ok, err := Inspect(fedavg.Slice(us), Inspection{Kind: Deltas, Policy: DefaultPolicy()})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if want := (Level{Body: 6, MaxBody: 10, Counters: 1, MaxCounters: 1}); level != want { // norms 5, 10, 7, 5
		t.Errorf("level %+v, want %+v", level, want)
	}
	if _, _, ok, err := Inspect(fedavg.Slice(nil), Inspection{Kind: Deltas, Policy: DefaultPolicy()}); ok || err != nil {
		t.Errorf("of no updates: %v, %v", ok, err)
	}
}

type broken struct{ fedavg.Slice }

func (b broken) Each(func(*fedavg.Update) error) error { return errors.New("disk on fire") }

func TestInspect_ReadError(t *testing.T) {
	if _, _, _, err := Inspect(broken{}, Inspection{Kind: Deltas, Policy: DefaultPolicy()}); err == nil || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("error %v", err)
	}
}

// norm against math.Hypot and by scaling where squares overflow or vanish.
func TestNorm(t *testing.T) {
	for _, test := range []struct {
		xs   []float64
		want float64
	}{
		{[]float64{3, 4}, 5},
		{[]float64{0, 0}, 0},
		{[]float64{3e200, 4e200}, 5e200},
		{[]float64{3e-200, 4e-200}, 5e-200},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64},
	} {
		got := norm([]fedavg.Vector{{F64: test.xs}})
		if math.Abs(got-test.want) > 1e-14*test.want {
			t.Errorf("norm of %v = %v, want %v", test.xs, got, test.want)
		}
	}
}

// What judging costs beside merging: 1000 gateways, 10 000 parameters.
func BenchmarkInspect1000x10k(b *testing.B) {
	us := fleet(rand.New(rand.NewPCG(7, 7)), 1000, 10_000, 0.6)
	scale(us[3], -1)
	b.SetBytes(1000 * 10_000 * 4)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := Inspect(fedavg.Slice(us), Inspection{Kind: Deltas, Policy: DefaultPolicy()}); err != nil {
			b.Fatal(err)
		}
	}
}
