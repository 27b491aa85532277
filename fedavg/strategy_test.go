package fedavg

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func scalar(agent string, weight float64, x float32) *Update {
	return &Update{Agent: agent, Weight: weight, Vectors: []Vector{{Name: "w", F32: []float32{x}}}}
}

// stream is Updates that are not a Slice, as when they lie on a disk.
type stream struct {
	us  []*Update
	err error
}

func (s stream) Len() int { return len(s.us) }
func (s stream) Each(fn func(*Update) error) error {
	if err := Slice(s.us).Each(fn); err != nil {
		return err
	}
	return s.err
}

// x = 0, replies 1 with n = 1 and 3 with n = 2: (1·1 + 2·3)/3 = 7/3.
func TestFedAvg_WeightedMean(t *testing.T) {
	global := []Vector{{Name: "w", F32: []float32{0}}}
	us := []*Update{scalar("a", 1, 1), scalar("b", 2, 3)}
	us[0].Metrics = map[string]float64{"loss": 3}
	for _, updates := range []Updates{Slice(us), stream{us: us}} {
		got, err := FedAvg{}.Aggregate(global, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		want := Result{Vectors: []Vector{{Name: "w", F32: []float32{7.0 / 3}}}, Weight: 3, Participants: 2, Metrics: map[string]float64{"loss": 3}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if global[0].F32[0] != 0 || us[1].Vectors[0].F32[0] != 3 {
		t.Error("inputs were changed")
	}
}

// Updates in memory and updates read one by one take different ways to the same
// bits, for every magnitude and length.
func TestFedAvg_MemoryAndStreamAgree(t *testing.T) {
	_, us := largeUpdates(11)
	for _, u := range us {
		u.Vectors = []Vector{u.Vectors[0], u.Vectors[2]} // the Float32 ones
		u.Metrics = map[string]float64{"loss": u.Weight / 3}
	}
	global := us[3].Vectors
	a, err := FedAvg{}.Aggregate(global, nil, Slice(us))
	if err != nil {
		t.Fatal(err)
	}
	b, err := FedAvg{}.Aggregate(global, nil, stream{us: us})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	us[5].Vectors[1].F32[parallelLen] = float32(math.Inf(1))
	var named *UpdateError
	var value *ValueError
	for _, updates := range []Updates{Slice(us), stream{us: us}} {
		if _, err := (FedAvg{}).Aggregate(LayoutOf(global).New(), nil, updates); !errors.As(err, &named) || !errors.As(named.Err, &value) || value.Index != parallelLen {
			t.Errorf("got %v", err)
		}
	}
}

// The deltas move the parameters from where they are: 10 + 7/3.
func TestFedAvg_StartsAtGlobal(t *testing.T) {
	got, err := FedAvg{}.Aggregate([]Vector{{Name: "w", F32: []float32{10}}}, nil, Slice{scalar("a", 1, 1), scalar("b", 2, 3)})
	if err != nil || got.Vectors[0].F32[0] != float32(37.0/3) {
		t.Errorf("got %v, %v", got.Vectors, err)
	}
}

func TestFedAvg_ZeroWeight(t *testing.T) {
	_, err := FedAvg{}.Aggregate([]Vector{{Name: "w", F32: []float32{0}}}, nil, Slice{scalar("a", 1, 1), scalar("idle", 0, 3)})
	var named *UpdateError
	var value *ValueError
	if !errors.As(err, &named) || named.Agent != "idle" || !errors.As(err, &value) || value.Vector != "weight" {
		t.Errorf("got %v", err)
	}
}

// A weight below the resolution of the sum must not become a division by zero.
func TestFedAvg_VanishingWeight(t *testing.T) {
	if got, err := (FedAvg{}).Aggregate([]Vector{{Name: "w", F32: []float32{0}}}, nil, Slice{scalar("a", 1e-300, 1)}); err == nil {
		t.Errorf("got %v", got.Vectors)
	}
}

func TestSum_ReplacesGlobal(t *testing.T) {
	global := []Vector{{Name: "s", F64: []float64{100, 100}}}
	var us []*Update
	want := []float64{0, 0}
	for k := range 20 { // more than a batch, not a multiple of it
		x := float64(k)
		us = append(us, &Update{Weight: x + 1, Vectors: []Vector{{Name: "s", F64: []float64{x, -x / 4}}}})
		want[0] += x
		want[1] -= x / 4
	}
	for _, updates := range []Updates{Slice(us), stream{us: us}} {
		got, err := Sum{}.Aggregate(global, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Vectors[0].F64); diff != "" || got.Weight != 210 || got.Participants != 20 {
			t.Errorf("weight %v of %d: %s", got.Weight, got.Participants, diff)
		}
	}
}

func TestStrategies_Refuse(t *testing.T) {
	f32, f64 := []Vector{{Name: "w", F32: []float32{0}}}, []Vector{{Name: "w", F64: []float64{0}}}
	broken := errors.New("broken")
	for name, s := range map[string]struct {
		strategy      Strategy
		global, wrong []Vector
	}{"FedAvg": {FedAvg{}, f32, f64}, "Sum": {Sum{}, f64, f32}} {
		good := &Update{Agent: "good", Weight: 1, Vectors: s.global}
		if _, err := s.strategy.Aggregate(s.wrong, nil, Slice{{Weight: 1, Vectors: s.wrong}}); err == nil {
			t.Errorf("%s: accepts the wrong element type", name)
		}
		for _, none := range []Updates{Slice{}, stream{}} {
			if _, err := s.strategy.Aggregate(s.global, nil, none); !errors.Is(err, ErrNoUpdates) {
				t.Errorf("%s: no updates: %v", name, err)
			}
		}
		both := []Vector{{Name: "w", F32: []float32{0}, F64: []float64{0}}}
		if _, err := s.strategy.Aggregate(both, nil, Slice{{Weight: 1, Vectors: both}}); err == nil {
			t.Errorf("%s: accepts both element types at once", name)
		}
		if _, err := s.strategy.Aggregate(nil, nil, Slice{good}); err == nil {
			t.Errorf("%s: accepts no parameters", name)
		}
		if _, err := s.strategy.Aggregate(s.global, nil, stream{us: []*Update{good}, err: broken}); !errors.Is(err, broken) {
			t.Errorf("%s: source fails: %v", name, err)
		}
		var named *UpdateError
		bad := &Update{Agent: "bad", Weight: math.NaN(), Vectors: s.global}
		for _, updates := range []Updates{Slice{good, bad}, stream{us: []*Update{good, bad}}} {
			if _, err := s.strategy.Aggregate(s.global, nil, updates); !errors.As(err, &named) || named.Agent != "bad" {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
}
