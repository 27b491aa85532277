package samples

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

var key = Key{Machine: "pump-1", Features: "abc"}

func open(t testing.TB, path string, opts Options) *Store {
	t.Helper()
	s, err := Open(path, opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fill adds vectors {from, 2·from}, {from+1, …} … of one kind.
func fill(s *Store, k Key, kind Kind, from, to int) {
	for i := from; i < to; i++ {
		s.Add(k, kind, time.Unix(int64(i), 0), []float64{float64(i), 2 * float64(i)})
	}
}

// firsts returns the first number of each stored vector.
func firsts(t testing.TB, s *Store, k Key, kind Kind) []float64 {
	t.Helper()
	rows, err := s.Rows(k, kind)
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for _, r := range rows {
		if len(r.Vector) != 2 || r.Vector[1] != 2*r.Vector[0] || r.At.Unix() != int64(r.Vector[0]) {
			t.Fatalf("row %+v is not what was added", r)
		}
		out = append(out, r.Vector[0])
	}
	return out
}

func count(from, to int) []float64 {
	var out []float64
	for i := from; i < to; i++ {
		out = append(out, float64(i))
	}
	return out
}

func check(t testing.TB, s *Store, kind Kind, want []float64) {
	t.Helper()
	if diff := cmp.Diff(want, firsts(t, s, key, kind)); diff != "" {
		t.Errorf("kind %d: %s", kind, diff)
	}
}

func TestStore_KeepsBothKindsAcrossARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.db")
	s := open(t, path, Options{MaxRecent: 10})
	fill(s, key, Baseline, 0, 5)
	check(t, s, Baseline, count(0, 5)) // from memory
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	fill(s, key, Recent, 100, 125) // rolls over
	fill(s, Key{"pump-2", "abc"}, Recent, 7, 9)
	check(t, s, Baseline, count(0, 5))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{MaxRecent: 10})
	check(t, s, Baseline, count(0, 5))
	check(t, s, Recent, count(115, 125))
	if n := s.Count(key, Recent); n != 10 {
		t.Errorf("count is %d, want 10", n)
	}
	if st := s.Stats(); st.Quarantined != 0 || st.Failure != "" {
		t.Errorf("stats are %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A lower limit takes effect at the next vector.
	s = open(t, path, Options{MaxRecent: 3})
	fill(s, key, Recent, 125, 126)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	check(t, s, Recent, count(123, 126))
}

func TestStore_ForgetAndKeep(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{})
	other := Key{"pump-1", "old"}
	fill(s, key, Baseline, 0, 3)
	fill(s, key, Recent, 0, 3)
	fill(s, other, Recent, 0, 3)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	fill(s, key, Baseline, 3, 4) // in memory
	if err := s.Forget(key, Baseline); err != nil {
		t.Fatal(err)
	}
	check(t, s, Baseline, nil)
	if err := s.Keep([]Key{key}); err != nil {
		t.Fatal(err)
	}
	check(t, s, Recent, count(0, 3))
	if got := firsts(t, s, other, Recent); got != nil {
		t.Errorf("vectors of a former job are %v", got)
	}
}

func TestStore_RunCommitsBatches(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "samples.db"), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	fill(s, key, Recent, 0, FlushRows)
	deadline := time.Now().Add(10 * time.Second) // FlushEvery is shorter; a batch must not wait for it, but may
	for s.Stats().Stored < FlushRows && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	fill(s, key, Recent, FlushRows, FlushRows+3)
	cancel()
	wg.Wait()
	if st := s.Stats(); st.Stored != FlushRows+3 || st.Pending != 0 {
		t.Errorf("after the end: %d stored, %d pending", st.Stored, st.Pending)
	}
}

// Write amplification: batches of 512 vectors of 30 numbers are to cost less than
// twice their size on flash.
func TestStore_LifetimeBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.db")
	s := open(t, path, Options{MaxRecent: 100000})
	vector := make([]float64, 30)
	const batches = 40
	for b := range batches {
		for i := range FlushRows {
			s.Add(key, Recent, time.Unix(int64(b*FlushRows+i), 0), vector)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	payload := float64(batches * FlushRows * 30 * 8)
	written := s.Stats().LifetimeBytes
	t.Logf("%.0f bytes of vectors, %d written: %.2f times", payload, written, float64(written)/payload)
	if f := float64(written) / payload; f < 1 || f > 2 {
		t.Errorf("%d bytes written for %.0f bytes of vectors", written, payload)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path, Options{}).Stats().LifetimeBytes; again < written*9/10 {
		t.Errorf("lifetime bytes fell from %d to %d at a restart", written, again)
	}
}

func TestStore_SizeIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.db")
	const bound = 1 << 20
	s := open(t, path, Options{MaxRecent: 1 << 20, MaxBytes: bound})
	vector := make([]float64, 100)
	for b := range 20 {
		for i := range FlushRows {
			vector[0] = float64(b*FlushRows + i)
			s.Add(key, Recent, time.Unix(0, 0), vector)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > bound {
		t.Errorf("file has %d bytes, the bound is %d", info.Size(), bound)
	}
	rows, err := s.Rows(key, Recent)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rows); n < 100 || rows[n-1].Vector[0] != 20*FlushRows-1 {
		t.Errorf("%d vectors kept, the newest is %v; want the newest ones", n, rows[len(rows)-1].Vector[0])
	}
	// A baseline has no older vectors to give way.
	for i := range 2 * FlushRows {
		s.Add(key, Baseline, time.Unix(int64(i), 0), vector)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Dropped["store_full"] == 0 {
		t.Errorf("nothing was counted as dropped: %+v", st)
	}
}

func TestStore_DamagedFiles(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	s := open(t, whole, Options{})
	for i := range 20 {
		fill(s, key, Recent, 100*i, 100*i+100)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"no database":        func(b []byte) []byte { return []byte(strings.Repeat("garbage ", 4096)) },
		"cut inside":         func(b []byte) []byte { return b[:len(b)/2] },
		"cut in the headers": func(b []byte) []byte { return b[:5000] },
		"zeroed middle":      func(b []byte) []byte { clear(b[8192 : len(b)-4096]); return b },
		"both headers wrong": func(b []byte) []byte { clear(b[:8192]); return b },
		"pages of noise": func(b []byte) []byte {
			for i := 8192; i < len(b); i++ {
				b[i] = byte(i * 37)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "samples.db")
			if err := os.WriteFile(path, damage(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, path, Options{})
			if st := s.Stats(); st.Quarantined != 1 || st.Failure != "" {
				t.Errorf("stats are %+v", st)
			}
			aside, _ := filepath.Glob(path + ".corrupt-*")
			if len(aside) != 1 {
				t.Errorf("put aside: %v", aside)
			}
			fill(s, key, Recent, 0, 3)
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			check(t, s, Recent, count(0, 3))
		})
	}
}

// A byte flipped inside a row leaves the database whole: only that row is lost.
func TestStore_DamagedRowIsDroppedAndCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.db")
	s := open(t, path, Options{})
	fill(s, key, Recent, 0, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	row := encode(Row{At: time.Unix(4, 0), Vector: []float64{4, 8}})
	if n := bytes.Count(data, row); n != 1 {
		t.Fatalf("row is in the file %d times", n)
	}
	data[bytes.Index(data, row)+15] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{})
	check(t, s, Recent, append(count(0, 4), count(5, 10)...))
	if n := s.Stats().Dropped["damaged"]; n != 1 {
		t.Errorf("%d rows counted as damaged", n)
	}
}

func TestStore_WithoutADirectoryItWorksFromMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	s := open(t, filepath.Join(dir, "samples.db"), Options{})
	if s.Stats().Failure == "" {
		t.Error("failure is not shown")
	}
	fill(s, key, Baseline, 0, 10)
	fill(s, key, Recent, 0, MaxPending)
	if err := s.Flush(); err == nil {
		t.Error("flush without a directory succeeded")
	}
	check(t, s, Baseline, count(0, 10)) // the baseline does not give way
	if st := s.Stats(); st.Pending != MaxPending || st.Dropped["disk_failed"] != 10 {
		t.Errorf("%d pending, %d dropped; want %d and 10", st.Pending, st.Dropped["disk_failed"], MaxPending)
	}
	// The directory comes back.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.disk.Lock()
	s.retryOpen = time.Time{}
	s.disk.Unlock()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	check(t, s, Recent, count(10, MaxPending))
	if st := s.Stats(); st.Failure != "" || st.Pending != 0 {
		t.Errorf("after recovery: %+v", st)
	}
}

// A second process that holds the file is no damage.
func TestStore_FileInUseIsNotPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := open(t, path, Options{})
	if st := s.Stats(); st.Quarantined != 0 || !strings.Contains(st.Failure, "timeout") {
		t.Errorf("stats are %+v", st)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(Row{At: time.Unix(1, 2), Vector: []float64{1, -2.5}}))
	f.Add(encode(Row{At: time.Unix(0, 0)}))
	f.Add(encode(Row{Vector: []float64{math.NaN()}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decode(b)
		if !ok {
			return
		}
		if !bytes.Equal(encode(r), b) {
			t.Errorf("decode accepted what encode does not write: %x", b)
		}
		for _, x := range r.Vector {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Errorf("decode let %v through", x)
			}
		}
	})
}
