package coordinator

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

func TestPins_HeldIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		f := startFixture(t, testConfig(), st)
		defer f.stop()
		blob, err := st.PutBlob(t.Context(), bytes.NewReader([]byte("an update on its way in")))
		if err != nil {
			t.Fatal(err)
		}
		one, two := f.c.pins.hold(blob.SHA256), f.c.pins.hold(blob.SHA256)
		for _, step := range []struct {
			do   func()
			left bool
		}{{func() {}, true}, {one, true}, {two, false}} {
			step.do()
			if err := f.c.dropBlobs(t.Context(), blob.SHA256, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := st.StatBlob(t.Context(), blob.SHA256); (err == nil) != step.left {
				t.Errorf("blob is there: %t, want %t", err == nil, step.left)
			}
		}
		if n := len(f.c.pins.held); n != 0 {
			t.Errorf("%d pins left", n)
		}
	})
}

func TestCollectGarbage_DeletesOrphansAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		cfg := testConfig(pumpJob("pump"), pumpJob("gone"))
		cfg.Jobs[1].Role = "shadow"
		f := startFixture(t, cfg, st)
		f.join("a")
		f.join("b")
		synctest.Wait()
		f.stop()
		before := blobsBeside(t, st)
		orphan, err := st.PutBlob(t.Context(), strings.NewReader("left by a crash"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Jobs = cfg.Jobs[:1] // the other job leaves the configuration and keeps its models
		f = startFixture(t, cfg, st)
		defer f.stop()
		after := blobsBeside(t, st)
		if len(after) != len(before) || len(after) != 2 {
			t.Errorf("%d blobs before, %d after the restart", len(before), len(after))
		}
		if _, err := st.StatBlob(t.Context(), orphan.SHA256); err == nil {
			t.Error("the orphan is still there")
		}
	})
}

func TestOpenRound_BlobsInUseSurviveTheEndOfAnotherJobsRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := pumpJob("one"), pumpJob("two")
		two.Role = "shadow"
		f := startFixture(t, testConfig(one, two), memstore.New())
		defer f.stop()
		a := &agent{f: f, name: "a"}
		a.train = func(s rpc.RoundStart) {
			if s.Job == "two" {
				return // keeps the round of job two open while job one commits and tidies up
			}
			if _, err := a.deliver(s); err != nil {
				t.Error(err)
			}
		}
		a.connect()
		a.ready()
		f.join("b")
		synctest.Wait()
		checkSum(t, f, "one", 1, "a", "b")
		for _, start := range messagesOf[rpc.RoundStart](a) {
			if start.Job == "two" {
				if _, err := a.deliver(start); err != nil {
					t.Error(err)
				}
			}
		}
		synctest.Wait()
		checkSum(t, f, "two", 1, "a", "b")
	})
}
