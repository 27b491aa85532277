package coordinator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// corrupt returns update bytes with wrong content that EncodeUpdate would refuse
// to write: the bytes of good, with those of old replaced.
func corrupt(t *testing.T, good []byte, old, new string) []byte {
	t.Helper()
	if len(old) != len(new) || !strings.Contains(string(good), old) {
		t.Fatalf("cannot replace %q by %q", old, new)
	}
	return []byte(strings.Replace(string(good), old, new, 1))
}

func TestUpload_BadOnesAreRefusedAndHarmNobody(t *testing.T) {
	tests := map[string]struct {
		reason rpc.Reason
		says   string
		make   func(t *testing.T, u *fedavg.Update) []byte
	}{
		"missing vector": {rpc.WrongShape, "number of vectors", func(t *testing.T, u *fedavg.Update) []byte {
			u.Vectors = u.Vectors[1:]
			return encoded(t, u)
		}},
		"vector too short": {rpc.WrongShape, "want", func(t *testing.T, u *fedavg.Update) []byte {
			u.Vectors[1].F64 = u.Vectors[1].F64[1:]
			return encoded(t, u)
		}},
		"wrong element type": {rpc.WrongShape, "is F32, not F64", func(t *testing.T, u *fedavg.Update) []byte {
			u.Vectors[1] = fedavg.Vector{Name: u.Vectors[1].Name, F32: make([]float32, len(u.Vectors[1].F64))}
			return encoded(t, u)
		}},
		"NaN": {rpc.UnusableNumber, "NaN", func(t *testing.T, u *fedavg.Update) []byte {
			data := encoded(t, u)
			putFloat64(data[len(data)-8:], math.NaN())
			return data
		}},
		"infinity": {rpc.UnusableNumber, "+Inf", func(t *testing.T, u *fedavg.Update) []byte {
			data := encoded(t, u)
			putFloat64(data[len(data)-8:], math.Inf(1))
			return data
		}},
		"weight zero": {rpc.UnusableNumber, "weight", func(t *testing.T, u *fedavg.Update) []byte {
			u.Weight = 7
			return corrupt(t, encoded(t, u), `"weight":"7"`, `"weight":"0"`)
		}},
		"not safetensors": {rpc.Unreadable, "decode update", func(*testing.T, *fedavg.Update) []byte {
			return []byte("PK\x03\x04 a zip file, perhaps")
		}},
		"a global model": {rpc.Unreadable, "kind", func(t *testing.T, u *fedavg.Update) []byte {
			data, err := fedavg.EncodeGlobal(&fedavg.Global{Job: u.Job, Vectors: u.Vectors})
			if err != nil {
				t.Fatal(err)
			}
			return data
		}},
		"other base": {rpc.WrongBase, "train again", func(t *testing.T, u *fedavg.Update) []byte {
			u.Base = strings.Repeat("0", 64)
			return encoded(t, u)
		}},
		"other agent's": {rpc.Mismatch, `gateway "good-1"`, func(t *testing.T, u *fedavg.Update) []byte {
			u.Agent = "good-1"
			return encoded(t, u)
		}},
		"other round's": {rpc.Mismatch, "round 9", func(t *testing.T, u *fedavg.Update) []byte {
			u.Round = 9
			return encoded(t, u)
		}},
		"too large": {rpc.TooLarge, "max_update_bytes", func(t *testing.T, u *fedavg.Update) []byte {
			return make([]byte, 1<<20+1)
		}},
		"many metrics": {rpc.Unreadable, "metrics", func(t *testing.T, u *fedavg.Update) []byte {
			for i := range 20 {
				u.Metrics[strings.Repeat("x", i+1)] = 1
			}
			return encoded(t, u)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := testConfig(pumpJob("pump"))
				cfg.Limits.MaxUpdateBytes = 1 << 20
				st := memstore.New()
				f := startFixtureLater(t, cfg, st, time.Second)
				defer f.stop()
				var err error
				bad := &agent{f: f, name: "bad"}
				bad.train = func(s rpc.RoundStart) { _, err = bad.upload(s, tt.make(t, bad.learned(s))) }
				bad.connect()
				bad.ready()
				f.join("good-1")
				f.join("good-2")
				time.Sleep(2 * time.Second)
				synctest.Wait()

				wantRefusal(t, err, tt.reason)
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("refusal says %q, want it to mention %q", err, tt.says)
				}
				if n := testutil.ToFloat64(f.c.metrics.rejected.WithLabelValues(string(tt.reason))); n != 1 {
					t.Errorf("counted %v times", n)
				}
				checkSum(t, f, "pump", 1, "good-1", "good-2") // at once, not at the deadline
				p := f.rounds("pump")[0].Participants[0]
				if p.Gateway != "bad" || p.State != "rejected" || p.Reason == "" || len(p.Reason) > 200 {
					t.Errorf("participant = %+v", p)
				}
				if blobs := blobsBeside(t, st); len(blobs) != 1 {
					t.Errorf("%d blobs kept, want the new version alone", len(blobs))
				}
			})
		})
	}
}

func putFloat64(dst []byte, x float64) {
	bits := math.Float64bits(x)
	for i := range 8 {
		dst[i] = byte(bits >> (8 * i))
	}
}

// inOpenRound calls check while a round is open that waits for agent a; b has
// delivered, and gate was not ready when the round was announced.
func inOpenRound(t *testing.T, check func(f *fixture, a *agent, start rpc.RoundStart)) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixture(t, testConfig(pumpJob("pump")), memstore.New())
		defer f.stop()
		a := &agent{f: f, name: "a", train: func(rpc.RoundStart) {}}
		a.connect()
		a.ready()
		f.join("b")
		synctest.Wait()
		check(f, a, messagesOf[rpc.RoundStart](a)[0])
	})
}

func TestUpload_TwiceIsADuplicate(t *testing.T) {
	inOpenRound(t, func(f *fixture, a *agent, start rpc.RoundStart) {
		b := &agent{f: f, name: "b"}
		r, err := b.deliver(start)
		if err != nil || r != (rpc.Receipt{Duplicate: true}) {
			t.Errorf("while open: %+v, %v", r, err)
		}
		if _, err := a.deliver(start); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		// Committed; the receipt may have been lost on the way.
		r, err = a.deliver(start)
		if err != nil || r != (rpc.Receipt{Duplicate: true}) {
			t.Errorf("after the commit: %+v, %v", r, err)
		}
		checkSum(t, f, "pump", 1, "a", "b")
	})
}

func TestUpload_SameUpdateTwiceAtOnceCountsOnce(t *testing.T) {
	inOpenRound(t, func(f *fixture, a *agent, start rpc.RoundStart) {
		receipts := make(chan rpc.Receipt, 8)
		for range 8 {
			a.wg.Go(func() {
				r, err := a.deliver(start)
				for ; err != nil; r, err = a.deliver(start) { // the round is just ending
					wantRefusal(t, err, rpc.Busy)
				}
				receipts <- r
			})
		}
		a.wg.Wait()
		first := 0
		for range 8 {
			if !(<-receipts).Duplicate {
				first++
			}
		}
		if first != 1 {
			t.Errorf("%d of 8 uploads were told they are the first", first)
		}
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b")
	})
}

func TestUpload_AnotherUpdateOfTheSameAgentIsRefused(t *testing.T) {
	inOpenRound(t, func(f *fixture, a *agent, start rpc.RoundStart) {
		b := &agent{f: f, name: "b"}
		u := b.learned(start)
		u.Vectors[0].F64[0]++
		_, err := b.upload(start, encoded(t, u))
		wantRefusal(t, err, rpc.Contradiction)
		if p := f.rounds("pump")[0].Participants[1]; p.State != "received" {
			t.Errorf("the update that counted is now %+v", p)
		}
		if _, err := a.deliver(start); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b")
	})
}

func TestUpload_PlacesThatDoNotExist(t *testing.T) {
	inOpenRound(t, func(f *fixture, a *agent, start rpc.RoundStart) {
		for name, tt := range map[string]struct {
			change func(*rpc.RoundStart)
			reason rpc.Reason
		}{
			"job":            {func(s *rpc.RoundStart) { s.Job = "nope" }, rpc.UnknownJob},
			"future round":   {func(s *rpc.RoundStart) { s.Round = 2 }, rpc.UnknownRound},
			"future attempt": {func(s *rpc.RoundStart) { s.Attempt = 2 }, rpc.UnknownRound},
			"round zero":     {func(s *rpc.RoundStart) { s.Round = 0 }, rpc.UnknownRound},
			"attempt zero":   {func(s *rpc.RoundStart) { s.Attempt = 0 }, rpc.UnknownRound},
		} {
			s := start
			tt.change(&s)
			data := encoded(t, a.learned(start))
			_, err := a.upload(s, data)
			if wantRefusal(t, err, tt.reason); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		stranger := &agent{f: f, name: "stranger"}
		_, err := stranger.deliver(start)
		wantRefusal(t, err, rpc.NotInRound)
	})
}

func TestUpload_BrokenLineLeavesThePlaceFree(t *testing.T) {
	inOpenRound(t, func(f *fixture, a *agent, start rpc.RoundStart) {
		data := encoded(t, a.learned(start))
		header := rpc.UploadHeader{Job: start.Job, Round: start.Round, Attempt: start.Attempt,
			Blob: store.Blob{SHA256: strings.Repeat("ab", 32), Size: uint64(len(data))}}
		// Content that does not match its digest was damaged on the way.
		_, err := f.c.Upload(t.Context(), "a", header, chunksOf(data))
		wantRefusal(t, err, rpc.Damaged)
		// Half of it, then silence.
		broken := errors.New("connection reset")
		sent := false
		_, err = f.c.Upload(t.Context(), "a", header, func() ([]byte, error) {
			if sent {
				return nil, broken
			}
			sent = true
			return data[:50], nil
		})
		if err == nil {
			t.Error("half an update was accepted")
		}
		header.Blob.Size++ // ends a byte early
		_, err = f.c.Upload(t.Context(), "a", header, chunksOf(data))
		wantRefusal(t, err, rpc.Damaged)
		header.Blob.SHA256 = "../../etc/passwd"
		_, err = f.c.Upload(t.Context(), "a", header, func() ([]byte, error) { return nil, io.EOF })
		wantRefusal(t, err, rpc.Malformed)

		if p := f.rounds("pump")[0].Participants[0]; p.State != "training" {
			t.Errorf("participant = %+v", p)
		}
		if _, err := a.deliver(start); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b")
	})
}

func TestUpload_RejectedAgentMayMendItWhileTheRoundIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		f := startFixtureLater(t, testConfig(spec), memstore.New(), time.Second)
		defer f.stop()
		bad := &agent{f: f, name: "bad", train: func(rpc.RoundStart) {}}
		hung := &agent{f: f, name: "hung", train: func(rpc.RoundStart) {}}
		for _, a := range []*agent{bad, hung} {
			a.connect()
			a.ready()
		}
		f.join("good")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		start := messagesOf[rpc.RoundStart](bad)[0]
		_, err := bad.upload(start, []byte("rubbish"))
		wantRefusal(t, err, rpc.Unreadable)
		if _, err := bad.deliver(start); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		checkSum(t, f, "pump", 1, "bad", "good")
	})
}

func TestUpload_RoundClosesWhileItIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		spec.Rounds.MinParticipants, spec.Rounds.Every = 1, time.Hour
		st := memstore.New()
		f := startFixtureLater(t, testConfig(spec), st, time.Second)
		defer f.stop()
		var receipt rpc.Receipt
		var err error
		slow := &agent{f: f, name: "slow"}
		slow.train = func(start rpc.RoundStart) {
			data := encoded(t, slow.learned(start))
			next := chunksOf(data)
			sum := sha256.Sum256(data)
			receipt, err = f.c.Upload(t.Context(), "slow", rpc.UploadHeader{Job: "pump", Round: 1, Attempt: 1,
				Blob: store.Blob{SHA256: hex.EncodeToString(sum[:]), Size: uint64(len(data))}},
				func() ([]byte, error) {
					time.Sleep(20 * time.Second) // the second chunk comes after the deadline
					return next()
				})
		}
		slow.connect()
		slow.ready()
		f.join("quick")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if err != nil || receipt != (rpc.Receipt{Late: true}) {
			t.Errorf("got %+v, %v; want Late", receipt, err)
		}
		checkSum(t, f, "pump", 1, "quick")
		records, _ := st.List(t.Context(), "update/")
		blobs := blobsBeside(t, st)
		if len(records) != 0 || len(blobs) != 1 {
			t.Errorf("%d records and %d blobs kept; want none and the model", len(records), len(blobs))
		}
	})
}
