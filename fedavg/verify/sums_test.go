package verify

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// sums is what a gateway of a Gaussian job sends of rows·machines rows of p
// features, whose values are spoiled first.
func sums(t testing.TB, r *rand.Rand, gateway string, machines, rows, p int, spoil func(z []float64)) *fedavg.Update {
	t.Helper()
	family, err := model.NewFamily(model.Spec{Kind: model.KindGaussian}.WithDefaults(), p)
	if err != nil {
		t.Fatal(err)
	}
	var sets []model.Set
	for m := range machines {
		set := model.Set{Machine: fmt.Sprint(m)}
		for range rows {
			z := make([]float64, p)
			common := r.NormFloat64()
			for i := range z {
				z[i] = 0.6*common + 0.8*r.NormFloat64()
			}
			if spoil != nil {
				spoil(z)
			}
			set.Rows = append(set.Rows, z)
		}
		sets = append(sets, set)
	}
	trained, err := family.Train(t.Context(), family.Init(1), sets, model.TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return &fedavg.Update{Job: "j", Round: 1, Attempt: 1, Agent: gateway, Weight: trained.Weight, Vectors: trained.Vectors}
}

func vector(u *fedavg.Update, name string) []float64 {
	for _, v := range u.Vectors {
		if v.Name == name {
			return v.F64
		}
	}
	return nil
}

// Whatever the rows, their sums are possible: constant, equal, huge, few.
func TestImpossibleSums_RealRowsPass(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for name, spoil := range map[string]func([]float64){
		"usual":      nil,
		"zero":       func(z []float64) { clear(z) },
		"one is all": func(z []float64) { z[1], z[2] = z[0], -z[0] },
		"constant":   func(z []float64) { z[0], z[1] = 7, 0 },
		"huge":       func(z []float64) { z[0] = model.ZLimit },
	} {
		for _, rows := range []int{1, 2, 300} {
			if why := ImpossibleSums(sums(t, r, "g", 3, rows, 6, spoil)); why != "" {
				t.Errorf("%s, %d rows: %s", name, rows, why)
			}
		}
	}
}

func TestImpossibleSums_FindsWhatNoRowsHave(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for name, test := range map[string]struct {
		spoil func(u *fedavg.Update)
		want  string
	}{
		"sign":       {func(u *fedavg.Update) { negate(vector(u, "outer")) }, "sum of squares of feature 0"},
		"all signs":  {func(u *fedavg.Update) { negate(vector(u, "outer")); negate(vector(u, "count")) }, "rows come with a weight"},
		"times 1000": {func(u *fedavg.Update) { vector(u, "count")[0] *= 1000 }, "rows come with a weight"},
		"mean":       {func(u *fedavg.Update) { vector(u, "sum")[1] = 2000 }, "feature 1 has sum 2000"},
		"product":    {func(u *fedavg.Update) { vector(u, "outer")[1] = 5000 }, "features 0 and 1"},
		"wander":     {func(u *fedavg.Update) { vector(u, "wander_log")[2] = -14 }, "feature 2 wanders"},
		"machines":   {func(u *fedavg.Update) { vector(u, "machines")[0] = 100 }, "100 machines"},
		"overflow":   {func(u *fedavg.Update) { vector(u, "outer")[0] = 4e18 }, "sum of squares of feature 0 is 4e+18"},
		"half a row": {func(u *fedavg.Update) { u.Weight = 0.5; vector(u, "count")[0] = 0.5 }, "0.5 rows"},
	} {
		u := sums(t, r, "g", 2, 300, 4, nil)
		test.spoil(u)
		if why := ImpossibleSums(u); !strings.Contains(why, test.want) {
			t.Errorf("%s: %q, want %q", name, why, test.want)
		}
	}
}

func negate(xs []float64) {
	for i := range xs {
		xs[i] = -xs[i]
	}
}

// Sums are compared per row: a gateway with two hundred times the rows is as
// normal as the others, one whose rows are thirty times too large is not, and a
// machine that stands six standard deviations off its baseline still is.
func TestInspect_SumsPerRow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for name, test := range map[string]struct {
		last *fedavg.Update
		want []string
	}{
		"many rows":        {sums(t, r, "z", 20, 1200, 4, nil), nil},
		"thirty times":     {sums(t, r, "z", 1, 120, 4, func(z []float64) { scaleRow(z, 30) }), []string{"z:norm"}},
		"drifted":          {sums(t, r, "z", 1, 120, 4, func(z []float64) { z[0] += 6 }), nil},
		"one feature lies": {sums(t, r, "z", 1, 120, 4, func(z []float64) { z[0] *= 1000 }), []string{"z:norm"}},
	} {
		us := []*fedavg.Update{test.last}
		for k := range 4 {
			us = append(us, sums(t, r, fmt.Sprintf("g%d", k), 1, 120, 4, nil))
		}
		vs, _, _, err := Inspect(fedavg.Slice(us), Inspection{Kind: Sums, Policy: DefaultPolicy()})
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]Verdict{}
		for _, v := range vs {
			by[v.Gateway] = v
		}
		t.Run(name, func(t *testing.T) { wantAccused(t, by, test.want...) })
	}
}

func scaleRow(z []float64, by float64) {
	for i := range z {
		z[i] *= by
	}
}

// Size per row, by hand: two rows (3, 4), so sum (6, 8), squares 18, 24, 32.
func TestSizeOf_Sums(t *testing.T) {
	u := &fedavg.Update{Weight: 2, Vectors: []fedavg.Vector{{Name: "count", F64: []float64{2}},
		{Name: "sum", F64: []float64{6, 8}}, {Name: "outer", F64: []float64{18, 24, 32}}}}
	got := SizeOf(u, Sums)
	want := math.Sqrt(math.Sqrt(36+64+18*18+24*24+32*32) / 2)
	if math.Abs(got.Body-want) > 1e-12 || got.Counters != 1 || got.Weight != 2 {
		t.Errorf("size %+v, want body %v, counters 1, weight 2", got, want)
	}
}
