package samples

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// observe keeps n windows a second apart, numbered from first in their only feature.
func observe(t *testing.T, s *Store, first, n int, quiet func(i int) bool) {
	t.Helper()
	for i := first; i < first+n; i++ {
		s.Observe(key, time.Unix(int64(i), 0), []float64{float64(i)}, Prediction{Score: float64(i) / 2, Version: uint64(i), Quiet: quiet(i)})
		if i%FlushRows == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestObserve_ComesBackWithItsPrediction(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{})
	s.Observe(key, time.Unix(7, 0), []float64{1, 2, 3}, Prediction{Score: 1.25, Version: 1<<51 - 1, Quiet: true})
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	s.Observe(key, time.Unix(8, 0), []float64{4, 5, 6}, Prediction{Version: 3})
	want := []Row{
		{At: time.Unix(7, 0).UTC(), Vector: []float64{1, 2, 3}, Prediction: Prediction{Score: 1.25, Version: 1<<51 - 1, Quiet: true}},
		{At: time.Unix(8, 0), Vector: []float64{4, 5, 6}, Prediction: Prediction{Version: 3}},
	}
	same := func(a, b Row) bool {
		return a.At.Equal(b.At) && slices.Equal(a.Vector, b.Vector) && a.Prediction == b.Prediction
	}
	rows, err := s.Rows(key, Observed)
	if err != nil || !slices.EqualFunc(rows, want, same) {
		t.Errorf("rows are %+v (%v), want %+v", rows, err, want)
	}
	i := 0
	err = s.Each(key, Observed, func(r Row) bool {
		if !same(r, want[i]) {
			t.Errorf("row %d is %+v, want %+v", i, r, want[i])
		}
		i++
		return true
	})
	if err != nil || i != len(want) {
		t.Errorf("%d rows (%v)", i, err)
	}
	i = 0
	_ = s.Each(key, Observed, func(Row) bool { i++; return false })
	if i != 1 {
		t.Errorf("went on to %d rows after it was told to stop", i)
	}
}

// What must be there is computed from the words of thinBy's comment, not from its code.
func TestObserve_FewerTheOlder(t *testing.T) {
	const dense = 64 // MaxRecent/2 of 0 is rounded up to one block
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{MaxRecent: 1})
	s.thinAt = dense
	const n = 600 * dense
	loud := func(i int) bool { return i/500%4 == 0 } // a tenth of hours is an alarm
	observe(t, s, 1, n, func(i int) bool { return !loud(i) })
	have := map[int]bool{}
	if err := s.Each(key, Observed, func(r Row) bool { have[int(r.Vector[0])] = true; return true }); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i := 1; i <= n; i++ {
		age := n - i
		every := 512
		for a, e := range map[int]int{dense: 1, 8 * dense: 8, 64 * dense: 64} {
			if age < a {
				every = min(every, e)
			}
		}
		// Within a block of its limit either is right.
		edge := false
		for _, limit := range []int{dense, 8 * dense, 64 * dense, 512 * dense} {
			edge = edge || age >= limit-dense && age <= limit+2*dense
		}
		if loud(i) && every > 1 {
			every /= 8
		}
		want := i%every == 0 && age < 512*dense
		if have[i] != want && !edge {
			t.Fatalf("window of age %d (loud: %v, one in %d): kept is %v", age, loud(i), every, have[i])
		}
		if have[i] && loud(i) {
			count["loud"]++
		} else if have[i] {
			count["quiet"]++
		}
	}
	t.Logf("of %d windows %d quiet and %d loud ones are kept", n, count["quiet"], count["loud"])
	if count["quiet"] == 0 || count["loud"] < count["quiet"] {
		t.Errorf("kept: %v", count)
	}
}

func TestObserve_BoundedHoweverLoud(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{MaxRecent: 1})
	s.thinAt = 64
	observe(t, s, 1, 600*64, func(int) bool { return false })
	rows, err := s.Rows(key, Observed)
	// All of 8·64, one in 8 up to 64·64, one in 64 up to 512·64, and blocks not yet due.
	if most := 8*64 + 56*64/8 + 448*64/64 + 4*64; err != nil || len(rows) > most || len(rows) < most*8/10 {
		t.Errorf("%d rows (%v), want about and at most %d", len(rows), err, most)
	}
}

// As TestStore_LifetimeBytes, of a machine whose quiet windows are both learned from and
// observed, with thinning at all ages under way.
func TestObserve_LifetimeBytes(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{MaxRecent: 2000})
	vector := make([]float64, 30)
	const batches, before = 200, 50
	warm, numbers := int64(0), 0
	for b := range batches {
		for i := range FlushRows / 2 {
			at, quiet := time.Unix(int64(b*FlushRows+i), 0), b%10 != 0
			s.Observe(key, at, vector, Prediction{Quiet: quiet})
			numbers += len(vector) + 2
			if quiet {
				s.Add(key, Recent, at, vector)
				numbers += len(vector)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		if b == before {
			warm, numbers = s.Stats().LifetimeBytes, 0
		}
	}
	payload := float64(8 * numbers)
	written := float64(s.Stats().LifetimeBytes - warm)
	t.Logf("%.0f bytes of vectors, %.0f written: %.2f times", payload, written, written/payload)
	if f := written / payload; f < 1 || f > 2 {
		t.Errorf("%.0f bytes written for %.0f bytes of vectors", written, payload)
	}
}

func TestObserve_LeavesRoomForBaselines(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{MaxRecent: 1 << 20, MaxBytes: 1 << 20})
	vector := make([]float64, 100)
	for i := range 20 * FlushRows {
		s.Observe(key, time.Unix(int64(i), 0), vector, Prediction{})
		if i%FlushRows == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 50 {
		s.Add(key, Baseline, time.Unix(int64(i), 0), vector)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(key, Baseline); n != 50 {
		t.Errorf("%d of 50 baseline vectors found room beside what was observed", n)
	}
}

func FuzzObserved(f *testing.F) {
	f.Add(encode(Row{At: time.Unix(1, 2), Vector: []float64{1, 2, 7}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		row, ok := decode(b)
		wasQuiet(b)
		if !ok {
			return
		}
		r := unpack(Observed, row)
		if n := len(row.Vector); n >= 2 && (len(r.Vector) != n-2 || r.Quiet != wasQuiet(b)) {
			t.Errorf("%+v from %v", r, row.Vector)
		}
	})
}

// A page holds keys of which some are deleted: the order must not suffer.
func TestObserve_KeysStayInOrder(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{MaxRecent: 1})
	s.thinAt = 64
	observe(t, s, 1, 5000, func(i int) bool { return i%2 == 0 })
	_ = s.db.View(func(tx *bolt.Tx) error {
		last := uint64(0)
		return bucket(tx, key, Observed).ForEach(func(k, _ []byte) error {
			if seq := binary.BigEndian.Uint64(k); seq <= last {
				t.Fatalf("key %d after %d", seq, last)
			} else {
				last = seq
			}
			return nil
		})
	})
}
