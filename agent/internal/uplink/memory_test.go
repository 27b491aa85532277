package uplink

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// An agent's control variate takes the place of the one before when the update is
// received, not earlier, and survives a restart between the two.
func TestMemory_ControlVariateFollowsTheUpdate(t *testing.T) {
	r := newRig(t)
	spec := r.addJob("pump")
	spec.Strategy = job.StrategySpec{Name: job.NameScaffold}
	spec = spec.WithDefaults()
	r.specs["pump"] = spec
	r.node.train = func(_ context.Context, _ string, global []fedavg.Vector, _ uint64) (fedavg.Update, error) {
		u := fedavg.Update{Weight: 1, Vectors: fedavg.Scaffold{}.UpdateLayout(fedavg.LayoutOf(global)).New()}
		return u, nil
	}
	layout := fedavg.Layout{{Name: "control.w", DType: fedavg.Float32, Len: 3}}
	stands := func() float32 {
		v := r.up.memory.load("pump", ownControl, spec.Digest(), layout)
		if v == nil {
			return 0
		}
		return v[0].F32[2]
	}
	r.run()
	k := r.session()
	r.sendJobs(k)
	base := r.globalModel("pump", 0, 3, 1)
	r.startRound(k, task{"pump", 1, 1}, base, time.Minute)
	r.arrived(task{"pump", 1, 1})
	r.eventually("the first control variate", func() bool { return stands() == 1 })

	// The second update does not get through before the agent stops.
	r.set(func() {
		r.receipt = func(task) error { return errors.New("the line is cut") }
	})
	r.startRound(k, task{"pump", 2, 1}, base, time.Minute)
	r.eventually("the second update", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.updates[task{"pump", 2, 1}] != nil
	})
	if stands() != 1 {
		t.Errorf("before the receipt %v stands", stands())
	}
	r.stop()
	r.set(func() { r.receipt = nil })
	r.run()
	k = r.session()
	r.sendJobs(k)
	r.eventually("the second control variate", func() bool { return stands() == 2 })

	// The third is late, and leaves no trace.
	r.set(func() { r.late = true })
	r.startRound(k, task{"pump", 3, 1}, base, time.Minute)
	r.eventually("the late update to be dropped", func() bool { return r.up.State().UpdatesDropped[dropLate] == 1 })
	if stands() != 2 {
		t.Errorf("after a late update %v stands", stands())
	}
	files, err := os.ReadDir(r.file("memory"))
	if err != nil || len(files) != 1 {
		t.Errorf("memory holds %v, %v", files, err)
	}

	// The strategy's state comes with the round.
	data, err := fedavg.EncodeState([]fedavg.Vector{{Name: "control.w", F32: []float32{5, 6, 7}}})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan []fedavg.Vector, 1)
	r.node.change(func() {
		r.node.started = func(from Start) { seen <- from.ServerControl }
	})
	r.say(k, &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundStart{RoundStart: &fedpb.RoundStart{
		Job: "pump", Digest: spec.Digest(), Round: 4, Attempt: 1, Model: base, State: r.keepModel(data),
		Deadline: timestamppb.New(time.Now().Add(time.Minute)),
	}}})
	select {
	case server := <-seen:
		if server[0].F32[2] != 7 {
			t.Errorf("trained with the server's %v", server)
		}
	case <-time.After(patience):
		t.Fatal("did not train")
	}

	// Another definition of the job begins at zero.
	spec.Seed = 9
	r.specs["pump"] = spec
	r.sendJobs(k)
	r.eventually("the former definition to be forgotten", func() bool {
		files, err := os.ReadDir(r.file("memory"))
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), stagedSuffix) && !strings.Contains(f.Name(), spec.Digest()[:16]) {
				return false
			}
		}
		return err == nil
	})
}

// What top-k leaves out of one update comes with the next.
func TestMemory_ResidualOfCompression(t *testing.T) {
	r := newRig(t)
	spec := r.addJob("pump")
	spec.Compression = []string{"unheard-of", string(compress.TopK)}
	r.specs["pump"] = spec
	r.node.train = func(_ context.Context, _ string, global []fedavg.Vector, _ uint64) (fedavg.Update, error) {
		u := fedavg.Update{Weight: 1, Vectors: fedavg.LayoutOf(global).New()}
		for i := range u.Vectors[0].F32 {
			u.Vectors[0].F32[i] = float32(i + 1)
		}
		return u, nil
	}
	r.run()
	k := r.session()
	r.sendJobs(k)
	base := r.globalModel("pump", 0, 1000, 1)
	layout := fedavg.Layout{{Name: "w", DType: fedavg.Float32, Len: 1000}}
	sums := make([]float64, 1000)
	for round := uint64(1); round <= 3; round++ {
		at := task{"pump", round, 1}
		r.startRound(k, at, base, time.Minute)
		r.eventually("delivery", func() bool { return r.up.State().UpdatesDelivered == round })
		data := r.update(at)
		u, err := compress.Decode(data, layout)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 500 {
			t.Errorf("a hundredth of 1000 numbers takes %d bytes", len(data))
		}
		for i, x := range u.Vectors[0].F32 {
			sums[i] += float64(x)
		}
	}
	// After three rounds what was sent and what is left make three times what was learned.
	left := r.up.memory.load("pump", residual, spec.Digest(), layout)
	for i := range sums {
		// Numbers travel with 11 bits of mantissa at least.
		if want := 3 * float64(i+1); sums[i]+float64(left[0].F32[i])-want > want/500 || want-sums[i]-float64(left[0].F32[i]) > want/500 {
			t.Fatalf("number %d: sent %v, left %v, want %v together", i, sums[i], left[0].F32[i], want)
		}
	}
}
