package choice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// table is a task whose losses are given by candidate and machine.
func table(losses [][]float64, costs []Cost) Task {
	t := Task{Measure: "given"}
	for k := range losses {
		t.Candidates = append(t.Candidates, fmt.Sprintf("c%d", k))
	}
	for m := range losses[0] {
		t.Machines = append(t.Machines, fmt.Sprintf("m%d", m))
	}
	t.Fit = func(_ context.Context, k int, machines []int) (Fitted, error) {
		return Fitted{Cost: costs[k], Loss: func(_ context.Context, m int) (float64, error) {
			if slices.Contains(machines, m) {
				return 0, errors.New("judged by a machine that was learned from")
			}
			if math.IsNaN(losses[k][m]) {
				return 0, ErrSilent
			}
			return losses[k][m], nil
		}}, nil
	}
	return t
}

func compare(t *testing.T, task Task) *Result {
	t.Helper()
	r, err := Compare(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var twoCosts = []Cost{{ModelBytes: 10, UpdateBytes: 10, Rounds: 1}, {ModelBytes: 10, UpdateBytes: 10, Rounds: 50}}

// Mean and standard error with numpy: np.mean(d), np.std(d, ddof=1)/np.sqrt(len(d)).
func TestCompare_CheapestWithinOneStandardError(t *testing.T) {
	r := compare(t, table([][]float64{{1.1, 2.3, 2.9, 4.2}, {1, 2.5, 3, 3.9}}, twoCosts))
	dear := r.Lines[1]
	if math.Abs(dear.Loss-2.6) > 1e-12 || math.Abs(dear.StdErr-0.6069047152011041) > 1e-12 {
		t.Errorf("got %v ± %v, want 2.6 ± 0.6069", dear.Loss, dear.StdErr)
	}
	if cheap := r.Lines[0]; math.Abs(cheap.Behind-0.025) > 1e-12 || math.Abs(cheap.BehindErr-0.11086778913041725) > 1e-12 {
		t.Errorf("behind by %v ± %v, want 0.025 ± 0.11087", cheap.Behind, cheap.BehindErr)
	}
	if r.Chosen != "c0" || !strings.Contains(r.Reason, "within one standard error of the best, c1") {
		t.Errorf("chose %s: %s", r.Chosen, r.Reason)
	}
}

// Behind on every machine by nearly the same: the spread among machines is no excuse.
func TestCompare_DearerWinsWhenItIsBetterOnEachMachine(t *testing.T) {
	r := compare(t, table([][]float64{{2, 12, 22, 32}, {1, 11, 21.1, 31}}, twoCosts))
	if r.Chosen != "c1" || r.Nested == nil || r.Nested.Chosen["c1"] != 4 || math.Abs(r.Nested.Loss-16.025) > 1e-12 {
		t.Errorf("chose %s, nested %+v", r.Chosen, r.Nested)
	}
}

// Machine 3 alone makes the dear one good: the choice without it is the other, and its
// judgement says so.
func TestCompare_NestedDoesNotSeeItsFold(t *testing.T) {
	r := compare(t, table([][]float64{{1, 1, 1, 30}, {1.5, 1.5, 1.5, 0}}, []Cost{twoCosts[1], twoCosts[0]}))
	if r.Chosen != "c1" {
		t.Errorf("chose %s", r.Chosen)
	}
	if n := r.Nested; n.Chosen["c0"] != 1 || n.Chosen["c1"] != 3 || math.Abs(n.Loss-(1.5*3+30)/4) > 1e-12 {
		t.Errorf("nested %+v", n)
	}
}

func TestCompare_SilentMachineDoesNotCount(t *testing.T) {
	nan := math.NaN()
	r := compare(t, table([][]float64{{1, nan, 3}, {2, nan, 4}}, twoCosts))
	if r.Machines != 2 || r.Lines[0].Loss != 2 || r.Chosen != "c0" {
		t.Errorf("got %+v", r)
	}
}

func TestCompare_FailedCandidateIsShown(t *testing.T) {
	task := table([][]float64{{1, 2}, {0, 0}}, twoCosts)
	fit := task.Fit
	task.Fit = func(ctx context.Context, k int, machines []int) (Fitted, error) {
		if k == 1 {
			return Fitted{}, errors.New("singular")
		}
		return fit(ctx, k, machines)
	}
	r := compare(t, task)
	var out bytes.Buffer
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	if r.Chosen != "c0" || r.Lines[1].Failed != "singular" || !strings.Contains(out.String(), "failed: singular") || !strings.Contains(r.Reason, "only candidate") || r.Nested != nil {
		t.Errorf("got %+v\n%s", r, out.String())
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestCompare_Refuses(t *testing.T) {
	nan := math.NaN()
	for name, task := range map[string]Task{
		"1 machines":             table([][]float64{{1}}, twoCosts),
		"there are none":         {Machines: []string{"a", "b"}},
		"no machine has any":     table([][]float64{{nan, nan}}, twoCosts),
		"judge by m1: loss is -": table([][]float64{{1, -1}}, twoCosts),
		"loss is +Inf":           table([][]float64{{1, math.Inf(1)}}, twoCosts),
	} {
		if r, err := Compare(t.Context(), task); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, table([][]float64{{1, 2}}, twoCosts)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Twenty machines are left out in eight folds, each once.
func TestCompare_Folds(t *testing.T) {
	losses := [][]float64{make([]float64, 20)}
	task := table(losses, twoCosts)
	fits := 0
	fit := task.Fit
	task.Fit = func(ctx context.Context, k int, machines []int) (Fitted, error) {
		fits++
		return fit(ctx, k, machines)
	}
	if r := compare(t, task); r.Folds != 8 || r.Machines != 20 || fits != 1+8+28 {
		t.Errorf("%d folds, %d machines, %d fits", r.Folds, r.Machines, fits)
	}
}
