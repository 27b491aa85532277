package fedavg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func newAccumulator(t testing.TB, layout Layout) *Accumulator {
	t.Helper()
	a, err := NewAccumulator(layout)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func marshal(t testing.TB, a *Accumulator) []byte {
	t.Helper()
	b, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// update makes an update of one Float32 vector "w" and one Float64 vector "s".
func update(agent string, weight float64, w []float32, s []float64) *Update {
	return &Update{Agent: agent, Weight: weight, Vectors: []Vector{{Name: "w", F32: w}, {Name: "s", F64: s}}}
}

var smallLayout = Layout{{Name: "w", DType: Float32, Len: 2}, {Name: "s", DType: Float64, Len: 2}}

func TestAccumulator_SumAndMean(t *testing.T) {
	a := newAccumulator(t, smallLayout)
	u, v := update("a", 1, []float32{1, -0.5}, []float64{10, 1e-3}), update("b", 2, []float32{3, 0.25}, []float64{-4, 2e9})
	u.Metrics = map[string]float64{"loss": 0.5, "extra": 7}
	v.Metrics = map[string]float64{"loss": 0.2}
	if err := errors.Join(a.Add(u), a.Add(v)); err != nil {
		t.Fatal(err)
	}
	if a.Count() != 2 || a.Weight() != 3 {
		t.Errorf("count %d, weight %v", a.Count(), a.Weight())
	}
	sum, err := a.Sum(nil)
	if err != nil {
		t.Fatal(err)
	}
	// 1·1 + 2·3, 1·(−0.5) + 2·0.25; statistics are summed without the weight.
	want := []Vector{{Name: "w", F32: []float32{7, 0}}, {Name: "s", F64: []float64{6, 2e9 + 1e-3}}}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Error(diff)
	}
	mean, err := a.Mean(a.Layout().New())
	if err != nil {
		t.Fatal(err)
	}
	want = []Vector{{Name: "w", F32: []float32{7.0 / 3, 0}}, {Name: "s", F64: []float64{2, sum[1].F64[1] / 3}}}
	if diff := cmp.Diff(want, mean); diff != "" {
		t.Error(diff)
	}
	// (1·0.5 + 2·0.2)/3; "extra" only by who reports it.
	if diff := cmp.Diff(map[string]float64{"loss": 0.3, "extra": 7}, a.Metrics(), cmp.Comparer(near)); diff != "" {
		t.Error(diff)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-15*math.Abs(a+b) }

func TestAccumulator_ReadsIntoDestination(t *testing.T) {
	a := newAccumulator(t, smallLayout)
	if err := a.Add(update("a", 2, []float32{1, 2}, []float64{3, 4})); err != nil {
		t.Fatal(err)
	}
	dst := smallLayout.New()
	got, err := a.Sum(dst)
	if err != nil || &got[0].F32[0] != &dst[0].F32[0] || dst[0].F32[1] != 4 || dst[1].F64[1] != 4 {
		t.Errorf("dst %v, error %v", dst, err)
	}
	var shape *ShapeError
	if _, err := a.Sum(dst[:1]); !errors.As(err, &shape) {
		t.Errorf("short destination: %v", err)
	}
	if _, err := newAccumulator(t, smallLayout).Mean(nil); !errors.Is(err, ErrNoUpdates) {
		t.Errorf("mean of nothing: %v", err)
	}
}

// A refused update must leave no trace, wherever in it the reason sits: first or
// last element, beside a vector already summed, in a segment that another
// goroutine works on.
func TestAccumulator_RefusesWithoutTrace(t *testing.T) {
	const n = 3*parallelLen + 5
	layout := Layout{{Name: "s", DType: Float64, Len: 3}, {Name: "w", DType: Float32, Len: n}, {Name: "last", DType: Float64, Len: 2}}
	good := func() *Update {
		u := &Update{Agent: "good", Weight: 3, Vectors: layout.New(), Metrics: map[string]float64{"loss": 1}}
		for i := range u.Vectors[1].F32 {
			u.Vectors[1].F32[i] = float32(i%100) - 50
		}
		u.Vectors[0].F64[1], u.Vectors[2].F64[0] = 0.7, -3
		return u
	}
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		name  string
		spoil func(u *Update)
		value bool // *ValueError, else *RangeError or, for shapes, *ShapeError
		shape bool
	}{
		{name: "nan first", spoil: func(u *Update) { u.Vectors[1].F32[0] = float32(nan) }, value: true},
		{name: "nan last", spoil: func(u *Update) { u.Vectors[1].F32[n-1] = float32(nan) }, value: true},
		{name: "inf", spoil: func(u *Update) { u.Vectors[1].F32[n/2] = float32(-inf) }, value: true},
		{name: "nan statistic", spoil: func(u *Update) { u.Vectors[2].F64[1] = nan }, value: true},
		{name: "inf statistic", spoil: func(u *Update) { u.Vectors[0].F64[0] = inf }, value: true},
		{name: "too large", spoil: func(u *Update) { u.Vectors[1].F32[n-2] = 1 << 30 }},
		{name: "far too large", spoil: func(u *Update) { u.Vectors[1].F32[7] = -math.MaxFloat32 }},
		{name: "statistic too large", spoil: func(u *Update) { u.Vectors[2].F64[1] = fixedLimit }},
		{name: "no weight", spoil: func(u *Update) { u.Weight = 0 }, value: true},
		{name: "negative weight", spoil: func(u *Update) { u.Weight = -1 }, value: true},
		{name: "nan weight", spoil: func(u *Update) { u.Weight = nan }, value: true},
		{name: "weight too large", spoil: func(u *Update) { u.Weight = 1e300 }},
		{name: "nan metric", spoil: func(u *Update) { u.Metrics["loss"] = nan }, value: true},
		{name: "metric too large", spoil: func(u *Update) { u.Metrics["loss"] = 1e300 }},
		{name: "vector missing", spoil: func(u *Update) { u.Vectors = u.Vectors[:2] }, shape: true},
		{name: "vector short", spoil: func(u *Update) { u.Vectors[1].F32 = u.Vectors[1].F32[1:] }, shape: true},
		{name: "vector renamed", spoil: func(u *Update) { u.Vectors[1].Name = "v" }, shape: true},
		{name: "vector of other type", spoil: func(u *Update) { u.Vectors[0] = Vector{Name: "s", F32: make([]float32, 3)} }, shape: true},
		{name: "vector of both types", spoil: func(u *Update) { u.Vectors[0].F32, u.Vectors[0].F64 = make([]float32, 1), make([]float64, 2) }, shape: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccumulator(t, layout)
			if err := a.Add(good()); err != nil {
				t.Fatal(err)
			}
			before := marshal(t, a)
			bad := good()
			bad.Agent = "bad"
			tt.spoil(bad)
			err := a.AddAll(good(), good(), bad, good(), good(), good())
			var named *UpdateError
			if !errors.As(err, &named) || named.Agent != "bad" {
				t.Errorf("got %v, want an *UpdateError for the bad one", err)
			}
			err = a.Add(bad)
			var value *ValueError
			var shape *ShapeError
			var tooLarge *RangeError
			if errors.As(err, &value) != tt.value || errors.As(err, &shape) != tt.shape || errors.As(err, &tooLarge) != (!tt.value && !tt.shape) {
				t.Errorf("got %v", err)
			}
			if !bytes.Equal(before, marshal(t, a)) {
				t.Error("the refused update left a trace")
			}
			if err := a.Add(good()); err != nil {
				t.Errorf("then: %v", err)
			}
		})
	}
}

// 2^31 is the limit of |Σ weight·x|; sums may come as near as an update's last
// unit, and go back.
func TestAccumulator_Range(t *testing.T) {
	layout := Layout{{Name: "w", DType: Float32, Len: 5}}
	with := func(w float64, x ...float32) *Update {
		return &Update{Agent: "a", Weight: w, Vectors: []Vector{{Name: "w", F32: append(x, make([]float32, 5-len(x))...)}}}
	}
	a := newAccumulator(t, layout)
	most := math.Nextafter32(1<<31, 0)
	if err := a.Add(with(1, most, -most)); err != nil {
		t.Fatal(err)
	}
	var tooLarge *RangeError
	if err := a.Add(with(1, 0, 0, 1<<31)); !errors.As(err, &tooLarge) || tooLarge.Index != 2 {
		t.Errorf("2^31 at once: %v", err)
	}
	if err := a.Add(with(2, 0, -65)); !errors.As(err, &tooLarge) || tooLarge.Index != 1 {
		t.Errorf("2^31 in sum: %v", err)
	}
	if err := a.Add(with(1, 128, 64, 1.5, 2.5)); err == nil {
		t.Error("accepts 2^31 beside others")
	}
	for range 100 { // what goes in comes out, however near the limit
		if err := errors.Join(a.Add(with(1, -most, most, 1, 3)), a.Sub(with(1, -most, most, 1, 3))); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := a.Sum(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{most, -most, 0, 0, 0}, sum[0].F32); diff != "" {
		t.Error(diff)
	}
}

// Units of 2^−32, rounded toward zero.
func TestAccumulator_Resolution(t *testing.T) {
	a := newAccumulator(t, Layout{{Name: "w", DType: Float32, Len: 4}})
	u := &Update{Weight: 1, Vectors: []Vector{{Name: "w", F32: []float32{0x1.8p-32, -0x1.8p-32, 0x1p-33, 1 + 0x1p-23}}}}
	if err := a.Add(u); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1, -1, 0, 1<<32 + 1<<9}, a.sums[0].f32); diff != "" {
		t.Error(diff)
	}
}

func TestAccumulator_SubNeverAdded(t *testing.T) {
	a := newAccumulator(t, smallLayout)
	u := update("a", 1, []float32{1, 2}, []float64{3, 4})
	if err := a.Sub(u); err == nil {
		t.Error("subtracts from nothing")
	}
	if err := a.Add(u); err != nil {
		t.Fatal(err)
	}
	before := marshal(t, a)
	heavy, metric := *u, *u
	heavy.Weight = 2
	metric.Metrics = map[string]float64{"loss": 1}
	for _, v := range []*Update{&heavy, &metric} {
		if err := a.Sub(v); err == nil || !bytes.Equal(before, marshal(t, a)) {
			t.Errorf("subtracts what was never added, or leaves a trace: %v", err)
		}
	}
}

func TestAccumulator_MergeRefuses(t *testing.T) {
	a, b := newAccumulator(t, smallLayout), newAccumulator(t, smallLayout[:1])
	var shape *ShapeError
	if err := a.Merge(b); !errors.As(err, &shape) {
		t.Errorf("other layout: %v", err)
	}
	b = newAccumulator(t, smallLayout)
	for _, acc := range []*Accumulator{a, b} {
		if err := acc.Add(update("a", 1<<30, []float32{0.5, 1.5}, []float64{1, 1 << 61})); err != nil {
			t.Fatal(err)
		}
	}
	before := marshal(t, a)
	var tooLarge *RangeError
	if err := a.Merge(b); !errors.As(err, &tooLarge) || tooLarge.Vector != "w" {
		t.Errorf("sum of 3·2^30: %v", err)
	}
	if !bytes.Equal(before, marshal(t, a)) {
		t.Error("the refused merge left a trace")
	}
}

func TestNewAccumulator_BadLayout(t *testing.T) {
	for _, l := range []Layout{nil, {{Name: "", DType: Float32, Len: 1}}, {{Name: "a", DType: Float32, Len: 0}}, {{Name: "a", DType: Float32, Len: -1}},
		{{Name: "a", DType: 7, Len: 1}}, {{Name: "a", DType: Float32, Len: 1}, {Name: "a", DType: Float32, Len: 1}}, {{Name: "a", DType: Float32, Len: math.MaxInt}},
		{{Name: "\xff", DType: Float32, Len: 1}}} {
		if _, err := NewAccumulator(l); err == nil {
			t.Errorf("accepts %v", l)
		}
	}
}

func TestAccumulator_UnmarshalDamaged(t *testing.T) {
	a := newAccumulator(t, smallLayout)
	u := update("a", 1, []float32{1, 2}, []float64{3, 4})
	u.Metrics = map[string]float64{"loss": 1}
	if err := a.Add(u); err != nil {
		t.Fatal(err)
	}
	data := marshal(t, a)
	var b Accumulator
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 0x10
		if err := b.UnmarshalBinary(damaged); err == nil {
			t.Fatalf("accepts a changed byte %d", i)
		}
		if err := b.UnmarshalBinary(data[:i]); err == nil {
			t.Fatalf("accepts %d bytes of %d", i, len(data))
		}
	}
	if b.Count() != 0 {
		t.Error("a refused decoding changed the accumulator")
	}
}

// sealAccumulator gives damaged bytes a right checksum, so that what lies behind
// it is tested too.
func sealAccumulator(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
}

func FuzzAccumulator_UnmarshalBinary(f *testing.F) {
	a := newAccumulator(f, smallLayout)
	u := update("a", 1, []float32{1, 2}, []float64{3, 4})
	u.Metrics = map[string]float64{"loss": 1}
	if err := a.Add(u); err != nil {
		f.Fatal(err)
	}
	data := marshal(f, a)
	f.Add(data[:len(data)-4])
	for _, header := range []string{`{}`, `{"layout":[{"name":"a","dtype":2,"len":1}],"count":-1}`, `{"layout":[{"name":"a","dtype":1,"len":9223372036854775807}]}`} {
		f.Add(append(binary.LittleEndian.AppendUint32([]byte(accumulatorMagic), uint32(len(header))), fmt.Sprint(header, "12345678")...))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var a Accumulator
		if err := a.UnmarshalBinary(sealAccumulator(body)); err != nil {
			return
		}
		a.Metrics()
		if _, err := a.Sum(nil); err != nil {
			t.Fatal(err)
		}
		var b Accumulator
		if err := b.UnmarshalBinary(marshal(t, &a)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(marshal(t, &a), marshal(t, &b)) {
			t.Fatal("encoding does not survive decoding")
		}
	})
}
