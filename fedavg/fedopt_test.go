package fedavg

import (
	"errors"
	"fmt"
	"math"
	"testing"
)

// From x = 0 the replies, as models, are 1 of weight 1 and 3 of weight 2, twice:
// the deltas of the second round start where the first ended. Expected values were
// computed by numpy in the paper's form with v₀ = τ².
func TestFedOpt_TwoRounds(t *testing.T) {
	for _, tt := range []struct {
		strategy Strategy
		want     [2]float64
	}{
		{FedAdam{.1, .9, .99, 1e-3}, [2]float64{.099572356, .23367114}},
		{FedYogi{.01, .9, .99, 1e-3}, [2]float64{.00995723469, .0233499862}},
		{FedAdagrad{.1, 1e-3}, [2]float64{.099957152, .169082133}},
		{FedAvgM{1, .9}, [2]float64{2.33333333, 4.43333333}},
	} {
		x, state := []Vector{{Name: "w", F32: []float32{0}}}, []Vector(nil)
		for round, want := range tt.want {
			at := x[0].F32[0]
			r := mustAggregate(t, tt.strategy, x, state, Slice{scalar("a", 1, 1-at), scalar("b", 2, 3-at)})
			nearAll(t, fmt.Sprintf("%T, round %d", tt.strategy, round+1), flatten(r.Vectors), []float64{want}, 1e-6)
			if err := tt.strategy.StateLayout(LayoutOf(x)).Check(r.State); err != nil {
				t.Errorf("%T: %v", tt.strategy, err)
			}
			x, state = r.Vectors, r.State
		}
	}
}

// A peer's published test begins at v₀ = 0: x = .1, replies .2 and 1.0, η = .1, τ = .5.
// FedYogi from v₀ = 0, numpy.
func TestFedOpt_GivenState(t *testing.T) {
	x := []Vector{{Name: "w", F32: []float32{.1}}}
	r := mustAggregate(t, FedAdagrad{.1, .5}, x, []Vector{{Name: "variance.w", F32: []float32{0}}}, Slice{scalar("a", 1, .1), scalar("b", 1, .9)})
	nearAll(t, "adagrad", flatten(r.Vectors), []float64{.15}, 1e-6)
	x = []Vector{{Name: "w", F32: []float32{0}}}
	zero := FedYogi{}.StateLayout(LayoutOf(x)).New()
	r = mustAggregate(t, FedYogi{.01, .9, .99, 1e-3}, x, zero, Slice{scalar("a", 1, 1), scalar("b", 2, 3)})
	nearAll(t, "yogi", flatten(r.Vectors), []float64{.00995733}, 1e-6)
}

// Three rounds over the reference updates ÷1000, then half of that, then the
// opposite; numpy.
func TestFedOpt_ThreeRounds(t *testing.T) {
	for _, tt := range []struct {
		strategy Strategy
		want     []float64
	}{
		{FedAdam{.1, .9, .99, 1e-3}, []float64{0.0209021763, 0.216440395, 0.150427971, -0.20803379, -0.185523611}},
		{FedYogi{.01, .9, .99, 1e-3}, []float64{0.00208530412, 0.0215947356, 0.0150044179, -0.0207563046, -0.0185097418}},
		{FedAdagrad{.1, 1e-3}, []float64{0.0368520399, 0.0768551977, 0.0730225583, -0.0764470469, -0.0752603221}},
		{FedAvgM{.5, .8}, []float64{0.00184510772, 0.0925514673, 0.0215477127, -0.0688866927, -0.0393484118}},
	} {
		x, state := LayoutOf(referenceUpdates(1)[0].Vectors).New(), []Vector(nil)
		for _, g := range []float32{1, .5, -1} {
			r := mustAggregate(t, tt.strategy, x, state, referenceUpdates(g/1000))
			x, state = r.Vectors, r.State
		}
		nearAll(t, fmt.Sprintf("%T", tt.strategy), flatten(x), tt.want, 2e-5)
	}
}

func TestFedOpt_RefusesState(t *testing.T) {
	x, us := []Vector{{Name: "w", F32: []float32{0}}}, Slice{scalar("a", 1, 1)}
	for _, s := range []Strategy{FedAdam{.1, .9, .99, 1e-3}, FedYogi{.1, .9, .99, 1e-3}, FedAdagrad{.1, 1e-3}, FedAvgM{1, .9}, Scaffold{Rate: 1}} {
		us := us
		if _, ok := s.(Scaffold); ok {
			us = Slice{withControl(scalar("a", 1, 1), 1)}
		}
		var shape *ShapeError
		if _, err := s.Aggregate(x, []Vector{{Name: "other", F32: []float32{1}}}, us); !errors.As(err, &shape) {
			t.Errorf("%T: state of another strategy: %v", s, err)
		}
		bad := s.StateLayout(LayoutOf(x)).New()
		bad[0].F32[0] = float32(math.NaN())
		var value *ValueError
		if _, err := s.Aggregate(x, bad, us); !errors.As(err, &value) {
			t.Errorf("%T: NaN in the state: %v", s, err)
		}
		state := s.StateLayout(LayoutOf(x)).New()
		kept := s.StateLayout(LayoutOf(x)).New()
		mustAggregate(t, s, x, state, us)
		nearAll(t, fmt.Sprintf("%T changes the state it was given", s), flatten(state), flatten(kept), 0)
	}
	negative := []Vector{{Name: "variance.w", F32: []float32{-1}}}
	if _, err := (FedAdagrad{.1, 1e-3}).Aggregate(x, negative, us); err == nil {
		t.Error("accepts a negative variance")
	}
	var step *StepError
	if _, err := (FedAvgM{1e300, .9}).Aggregate(x, nil, us); !errors.As(err, &step) {
		t.Errorf("a step out of float32: %v", err)
	}
}

func TestState_RoundTrip(t *testing.T) {
	x := []Vector{{Name: "w", F32: []float32{1, 2}}, {Name: "b", F32: []float32{3}}}
	s := FedAdam{.1, .9, .99, 1e-3}
	us := Slice{{Agent: "a", Weight: 3, Vectors: x}}
	r := mustAggregate(t, s, x, nil, us)
	data, err := EncodeState(r.State)
	if err != nil {
		t.Fatal(err)
	}
	state, err := DecodeState(data, s.StateLayout(LayoutOf(x)))
	if err != nil {
		t.Fatal(err)
	}
	a, b := mustAggregate(t, s, r.Vectors, r.State, us), mustAggregate(t, s, r.Vectors, state, us)
	nearAll(t, "after a restart", flatten(b.Vectors), flatten(a.Vectors), 0)
	if _, err := DecodeState(data, FedAvgM{}.StateLayout(LayoutOf(x))); err == nil {
		t.Error("takes the state of another strategy")
	}
	if _, err := DecodeState(data[:len(data)-1], s.StateLayout(LayoutOf(x))); err == nil {
		t.Error("takes a state cut short")
	}
	state[0].F32[0] = float32(math.Inf(1))
	if _, err := EncodeState(state); err == nil {
		t.Error("encodes an infinite state")
	}
}

func withControl(u *Update, x float32) *Update {
	c := *u
	c.Vectors = append(c.Vectors[:1:1], Vector{Name: "control." + u.Vectors[0].Name, F32: []float32{x}})
	return &c
}

// numpy, see referenceUpdates: a_k = 5 + k mod 4; staleness k mod 5 and η = .5;
// control variates change by the same numbers in reverse order, η = .5, N = 20.
func TestReweighted_Reference(t *testing.T) {
	us := referenceUpdates(1)
	global := LayoutOf(us[0].Vectors).New()
	for k, u := range us {
		u.Steps, u.Staleness = float64(5+k%4), k%5
	}
	nearAll(t, "FedNova", flatten(mustAggregate(t, FedNova{}, global, nil, us).Vectors), []float64{1.37029254, 63.8061734, 14.843548, -47.3172966, -27.1569086}, 1e-6)
	nearAll(t, "FedBuff", flatten(mustAggregate(t, FedBuff{.5}, global, nil, us).Vectors), []float64{7.29959284, 10.6545376, 4.2136315, -5.06140039, -10.8461513}, 1e-6)

	layout := Scaffold{}.UpdateLayout(LayoutOf(global))
	for _, u := range us {
		row := flatten(u.Vectors)
		vs := layout.New()
		copy(vs[0].F32, u.Vectors[0].F32)
		copy(vs[1].F32, u.Vectors[1].F32)
		for i := range row {
			if at := 4 - i; at < 3 {
				vs[2].F32[at] = float32(row[i])
			} else {
				vs[3].F32[at-3] = float32(row[i])
			}
		}
		u.Vectors = vs
	}
	r := mustAggregate(t, Scaffold{Rate: .5, Population: 20}, global, nil, us)
	nearAll(t, "SCAFFOLD x", flatten(r.Vectors), []float64{17.0677727, 14.4147273, 7.4435, -4.028, -21.0012727}, 1e-6)
	control := []float64{-23.1014, -4.4308, 8.18785, 15.8562, 18.77455}
	nearAll(t, "SCAFFOLD c", flatten(r.State), control, 1e-6)
	r = mustAggregate(t, Scaffold{Rate: .5, Population: 20}, r.Vectors, r.State, us)
	for i := range control {
		control[i] *= 2
	}
	nearAll(t, "SCAFFOLD c after two rounds", flatten(r.State), control, 1e-6)
}

func TestFedNova_NeedsSteps(t *testing.T) {
	global := []Vector{{Name: "w", F32: []float32{0}}}
	var named *UpdateError
	if _, err := (FedNova{}).Aggregate(global, nil, Slice{scalar("adam", 1, 1)}); !errors.As(err, &named) || named.Agent != "adam" {
		t.Errorf("got %v", err)
	}
	u := scalar("wild", 1, 1)
	u.Steps = math.Inf(1)
	if _, err := (FedNova{}).Aggregate(global, nil, Slice{u}); !errors.As(err, &named) {
		t.Errorf("got %v", err)
	}
	u = scalar("future", 1, 1)
	u.Staleness = -1
	if _, err := (FedBuff{1}).Aggregate(global, nil, Slice{u}); !errors.As(err, &named) {
		t.Errorf("got %v", err)
	}
}

// With as many steps everywhere FedNova is FedAvg, and fresh updates of equal
// weight make FedBuff it too.
func TestReweighted_ReduceToFedAvg(t *testing.T) {
	us := referenceUpdates(1)
	global := LayoutOf(us[0].Vectors).New()
	for _, u := range us {
		u.Steps = 12
	}
	want := flatten(mustAggregate(t, FedAvg{}, global, nil, us).Vectors)
	nearAll(t, "FedNova", flatten(mustAggregate(t, FedNova{}, global, nil, us).Vectors), want, 1e-6)
	for _, u := range us {
		u.Weight = 7
	}
	want = flatten(mustAggregate(t, FedAvg{}, global, nil, us).Vectors)
	nearAll(t, "FedBuff", flatten(mustAggregate(t, FedBuff{1}, global, nil, us).Vectors), want, 1e-6)
}
