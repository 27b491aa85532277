package uplink

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

func TestRound_DamagedModel(t *testing.T) {
	r, k := joined(t)
	flip := func(b []byte) []byte { c := append([]byte(nil), b...); c[len(c)-1] ^= 1; return c }
	times := 2
	r.set(func() {
		r.download = func(b []byte) []byte {
			if times > 0 {
				times--
				return flip(b)
			}
			return b
		}
	})
	r.startRound(k, task{"pump", 1, 1}, r.globalModel("pump", 0, 3, 1), time.Minute)
	r.arrived(task{"pump", 1, 1})
	if n := r.up.State().TransfersDamaged; n != 2 {
		t.Errorf("counted %d damaged transfers", n)
	}
	// Always damaged, the round is declined and nothing is trained.
	r.set(func() { times = 1000 })
	r.startRound(k, task{"pump", 2, 1}, r.globalModel("pump", 1, 3, 2), time.Minute)
	expect(t, k, answers)
	if a := expect(t, k, func(m *fedpb.FromAgent) (*fedpb.RoundAnswer, bool) {
		return m.GetRoundAnswer(), m.GetRoundAnswer().GetRound() == 2 && !m.GetRoundAnswer().GetAccepted()
	}); !strings.Contains(a.GetReason(), "damaged") {
		t.Errorf("answer %v", a)
	}
	if r.node.trainings() != 1 {
		t.Error("trained on a damaged model")
	}
}

func TestRound_DownloadResumes(t *testing.T) {
	r, k := joined(t)
	base := r.globalModel("pump", 0, 300_000, 1)
	cut := true
	r.set(func() {
		r.download = func(b []byte) []byte {
			if cut {
				cut = false
				return b[:700_000]
			}
			return b
		}
	})
	r.startRound(k, task{"pump", 1, 1}, base, time.Minute)
	r.arrived(task{"pump", 1, 1})
	if d := cmp.Diff([]uint64{0, 700_000}, r.offsets); d != "" {
		t.Errorf("offsets asked for:\n%s", d)
	}
	// The next round from the same model needs no download.
	r.startRound(k, task{"pump", 2, 1}, base, time.Minute)
	r.arrived(task{"pump", 2, 1})
	if len(r.offsets) != 2 {
		t.Error("the model was downloaded again")
	}
	// On disk it is checked like on the wire.
	path := r.file("models/" + base.GetSha256())
	data := mustRead(t, path)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r.startRound(k, task{"pump", 3, 1}, base, time.Minute)
	r.arrived(task{"pump", 3, 1})
	if len(r.offsets) != 3 {
		t.Error("a damaged model was taken from disk")
	}
}

func TestRelease_Install(t *testing.T) {
	r, k := joined(t)
	release := func(version uint64, x float32, digest string) *fedpb.FromCoordinator {
		return &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Release{Release: &fedpb.Release{
			Job: "pump", Digest: digest, Version: version, Model: r.globalModel("pump", version, 3, x),
		}}}
	}
	digest := r.specs["pump"].Digest()
	r.say(k, release(0, 0, digest))       // learned nothing
	r.say(k, release(1, 1, "0123456789")) // another definition
	r.say(k, release(1, 1, digest))
	r.eventually("installation", func() bool { return r.node.Installed("pump") == 1 })
	r.say(k, release(1, 1, digest))
	r.say(k, release(2, 2, digest))
	r.eventually("installation", func() bool { return r.node.Installed("pump") == 2 })
	r.say(k, release(1, 1, digest)) // rolled back
	r.eventually("installation", func() bool { return r.node.Installed("pump") == 1 })
	if len(r.node.models) != 3 {
		t.Errorf("%d models installed, want 3", len(r.node.models))
	}
	g, err := fedavg.DecodeGlobal(r.node.models[1], nil)
	if err != nil || g.Version != 2 {
		t.Errorf("second model: %+v, %v", g, err)
	}
}

func TestModelCache_KeepsTheNewest(t *testing.T) {
	c := newModelCache(t.TempDir(), 1<<20, quiet())
	for i := range cachedModels + 3 {
		path := filepath.Join(c.dir, fmt.Sprint(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_000_000+int64(i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	c.prune()
	files, err := os.ReadDir(c.dir)
	if err != nil || len(files) != cachedModels {
		t.Fatalf("%d files are left, %v", len(files), err)
	}
	for _, old := range []string{"0", "1", "2"} {
		if _, err := os.Stat(filepath.Join(c.dir, old)); err == nil {
			t.Errorf("the old file %s is left", old)
		}
	}
}

// Without a place on disk a release is installed all the same.
func TestRelease_NoDisk(t *testing.T) {
	r, k := joined(t)
	r.eventually("jobs", func() bool { return r.up.digestOf("pump") != "" })
	if err := os.WriteFile(r.file("models"), []byte("in the way of the folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.say(k, &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Release{Release: &fedpb.Release{
		Job: "pump", Digest: r.specs["pump"].Digest(), Version: 1, Model: r.globalModel("pump", 1, 3, 1),
	}}})
	r.eventually("installation", func() bool { return r.node.Installed("pump") == 1 })
	if !strings.Contains(r.log.String(), localFailure.mend) {
		t.Errorf("log does not say what to mend:\n%s", r.log)
	}
}

func TestRelease_TooLarge(t *testing.T) {
	r := newRig(t)
	r.cfg.MaxModelBytes = 100
	r.addJob("pump")
	r.run()
	k := r.session()
	r.sendJobs(k)
	r.startRound(k, task{"pump", 1, 1}, r.globalModel("pump", 0, 300, 1), time.Minute)
	expect(t, k, answers)
	if a := expect(t, k, answers); a.GetAccepted() || !strings.Contains(a.GetReason(), "limit of 100 bytes") {
		t.Errorf("answer is %v", a)
	}
	if len(r.offsets) != 0 {
		t.Error("a model over the limit was asked for")
	}
}
