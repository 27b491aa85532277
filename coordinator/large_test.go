package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	goruntime "runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/boltstore"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// largeBytes makes a process of this test one that transfers so much.
const largeBytes = "MILLWRIGHT_TEST_LARGE_BYTES"

// A large update comes in, and a large model goes out, in little memory beside
// what the process had, and both go on after a cut where they stopped.
func TestLarge_Transfer(t *testing.T) { transferLarge(t, 32<<20, 24<<20, "heap") }

// transferLarge runs the transfer in a process of its own, because memory is
// counted by process, and checks how much it grew: all of it, or the heap alone,
// since the race detector multiplies the rest.
func transferLarge(t *testing.T, size, mostExtra int64, what string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestLarge_Process$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", largeBytes, size), "GODEBUG=madvdontneed=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	grew := map[string]int64{}
	for _, m := range regexp.MustCompile(`(\w+) grew by (\d+)`).FindAllStringSubmatch(string(out), -1) {
		grew[m[1]], _ = strconv.ParseInt(m[2], 10, 64) // digits
	}
	if len(grew) != 2 {
		t.Fatalf("it does not say how much memory it took:\n%s", out)
	}
	t.Logf("transferring %d MB each way took %.1f MB of memory beside, %.1f MB of heap", size>>20, float64(grew["process"])/1e6, float64(grew["heap"])/1e6)
	if grew[what] > mostExtra {
		t.Errorf("the %s grew by %d bytes, want at most %d", what, grew[what], mostExtra)
	}
}

// TestLarge_Process is the process that transferLarge starts.
func TestLarge_Process(t *testing.T) {
	var size int64
	if _, err := fmt.Sscan(os.Getenv(largeBytes), &size); err != nil {
		t.Skip("runs as a part of TestLarge_Transfer")
	}
	f, start, path := largeRound(t, size)
	a := &agent{f: f, name: "a"}
	blob := store.Blob{Size: uint64(fileSize(t, path)), SHA256: fileDigest(t, path)}
	header := rpc.UploadHeader{Job: "pump", Round: 1, Attempt: 1, Blob: blob}

	debug.FreeOSMemory()
	resetPeak(t)
	before := memory(t, "VmRSS")
	heap := watchHeap(t)

	// The line is cut after a third, and again after two thirds.
	for _, cutAt := range []uint64{blob.Size / 3, 2 * blob.Size / 3} {
		offset, err := f.c.UploadStatus(t.Context(), a.name, header)
		if err != nil {
			t.Fatal(err)
		}
		header.Offset = offset
		if _, err := f.c.Upload(t.Context(), a.name, header, chunksOfFile(t, path, offset, cutAt)); err == nil || !errors.Is(err, errCut) {
			t.Fatalf("the upload that was cut: %v", err)
		}
		if held, err := f.c.UploadStatus(t.Context(), a.name, header); err != nil || held != cutAt {
			t.Fatalf("after the cut at %d the coordinator holds %d, %v", cutAt, held, err)
		}
	}
	header.Offset = 2 * blob.Size / 3
	receipt, err := f.c.Upload(t.Context(), a.name, header, chunksOfFile(t, path, header.Offset, blob.Size+1))
	if err != nil || receipt != (rpc.Receipt{}) {
		t.Fatalf("the rest: %+v, %v", receipt, err)
	}
	if left, err := filepath.Glob(filepath.Join(f.c.cfg.DataDir, "incoming", "*")); err != nil || len(left) != 0 {
		t.Errorf("parts left: %v, %v", left, err)
	}
	// The model goes out in three pieces.
	hash := sha256.New()
	for offset := uint64(0); offset < start.Model.Size; {
		r, err := f.c.OpenModel(t.Context(), a.name, start.Model.SHA256, offset)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.CopyN(hash, r, int64(start.Model.Size/3+1))
		if err := errors.Join(ignoreEOF(err), r.Close()); err != nil {
			t.Fatal(err)
		}
		offset += uint64(n)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != start.Model.SHA256 {
		t.Errorf("the model arrived with digest %s, not %s", got, start.Model.SHA256)
	}
	t.Logf("process grew by %d bytes from %d", memory(t, "VmHWM")-before, before)
	t.Logf("heap grew by %d", heap())
}

// bigFamily is a family whose parameters are larger than those of any real one.
type bigFamily struct {
	model.Family
	layout fedavg.Layout
}

func (f bigFamily) ParamLayout() fedavg.Layout  { return f.layout }
func (f bigFamily) Init(uint64) []fedavg.Vector { return f.layout.New() }

var errCut = errors.New("cut")

// largeRound opens a round of a model of about so many bytes on a real store, and
// writes an update to it into a file.
func largeRound(t *testing.T, size int64) (*fixture, rpc.RoundStart, string) {
	t.Helper()
	dir := t.TempDir()
	spec := gradientJob("pump")
	spec.Rounds.MinParticipants, spec.Rounds.Deadline = 1, time.Hour
	cfg := testConfig(spec)
	cfg.DataDir = dir
	st, err := boltstore.Open(dir, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCoordinator(cfg, st, discard)
	if err != nil {
		t.Fatal(err)
	}
	j := c.jobs[0]
	big := bigFamily{j.family, fedavg.Layout{{Name: "weights", DType: fedavg.Float32, Len: int(size / 4)}}}
	j.family, j.layout, j.updates = big, big.layout, big.layout
	f := &fixture{t: t, c: c}
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	if err := c.load(ctx); err != nil {
		t.Fatal(err)
	}
	j.head.NotBefore = time.Now().Add(time.Second) // both agents are to be in the round
	f.ended.Go(func() {
		if err := j.run(ctx); err != nil {
			t.Error(err)
		}
	})
	started := make(chan rpc.RoundStart, 1)
	for _, name := range []string{"a", "b"} { // b never delivers, so nothing is merged
		a := &agent{f: f, name: name, train: func(s rpc.RoundStart) { started <- s }}
		a.connect()
		a.ready()
	}
	t.Cleanup(func() {
		f.stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	var start rpc.RoundStart
	select {
	case start = <-started:
	case <-time.After(time.Minute):
		t.Fatal("no round began")
	}
	path := filepath.Join(dir, "update")
	a := &agent{f: f, name: "a"}
	data, err := fedavg.EncodeUpdate(a.learned(start))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return f, start, path
}

// chunksOfFile yields a file from an offset, and breaks off at cutAt.
func chunksOfFile(t *testing.T, path string, offset, cutAt uint64) func() ([]byte, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Seek(int64(offset), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, fedrpc.ChunkBytes)
	return func() ([]byte, error) {
		if offset == cutAt {
			return nil, errCut
		}
		n, err := f.Read(buf[:min(uint64(len(buf)), cutAt-offset)])
		offset += uint64(n)
		return buf[:n], err
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func fileDigest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// memory reads a size from /proc/self/status, in bytes.
func memory(t *testing.T, field string) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("memory is read from /proc, which is not there")
	}
	for line := range strings.Lines(string(data)) {
		var kilobytes int64
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no %s in /proc/self/status", field)
	return 0
}

// watchHeap returns how to end watching, which tells by how much the heap grew at
// most, garbage included.
func watchHeap(t *testing.T) func() int64 {
	t.Helper()
	read := func() int64 {
		sample := []goruntime.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		goruntime.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	first := read()
	peak, stop, done := first, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for ticker := time.NewTicker(time.Millisecond); ; {
			select {
			case <-ticker.C:
				peak = max(peak, read())
			case <-stop:
				ticker.Stop()
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return max(peak, read()) - first
	}
}

// resetPeak makes VmHWM begin anew.
func resetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skipf("the peak of memory cannot be reset: %v", err)
	}
}

// A part that belongs to another update makes room; one that is damaged is found
// out by its digest, and the next try begins anew.
func TestLarge_PartsThatDoNotFit(t *testing.T) {
	f, start, path := largeRound(t, 3<<20)
	a := &agent{f: f, name: "a"}
	blob := store.Blob{Size: uint64(fileSize(t, path)), SHA256: fileDigest(t, path)}
	header := rpc.UploadHeader{Job: "pump", Round: 1, Attempt: 1, Blob: blob}
	other := header
	other.Blob.SHA256 = strings.Repeat("0", 64)
	if _, err := f.c.Upload(t.Context(), "a", other, chunksOfFile(t, path, 0, 2<<20)); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if _, err := f.c.Upload(t.Context(), "a", header, chunksOfFile(t, path, 0, 1<<20)); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	parts, err := filepath.Glob(filepath.Join(f.c.cfg.DataDir, "incoming", "*"))
	if err != nil || len(parts) != 1 || !strings.Contains(parts[0], blob.SHA256) {
		t.Fatalf("parts are %v, %v", parts, err)
	}
	// Beyond what is held.
	header.Offset = 2 << 20
	_, err = f.c.Upload(t.Context(), "a", header, chunksOfFile(t, path, header.Offset, blob.Size+1))
	wantRefusal(t, err, rpc.Damaged)
	// A bit is flipped in the part.
	part, err := os.ReadFile(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	part[700_000] ^= 1
	if err := os.WriteFile(parts[0], part, 0o600); err != nil {
		t.Fatal(err)
	}
	header.Offset = 1 << 20
	_, err = f.c.Upload(t.Context(), "a", header, chunksOfFile(t, path, header.Offset, blob.Size+1))
	wantRefusal(t, err, rpc.Damaged)
	if held, err := f.c.UploadStatus(t.Context(), "a", header); err != nil || held != 0 {
		t.Fatalf("after a damaged part %d bytes are held, %v", held, err)
	}
	header.Offset = 0
	// NaN somewhere in the middle is refused, and nothing is kept of it.
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(data)
	at := len(bad) - 4*200_000
	copy(bad[at:], []byte{0, 0, 0xc0, 0x7f})
	_, err = uploadAs(f, start, "b", bad)
	wantRefusal(t, err, rpc.UnusableNumber)
	if receipt, err := a.upload(start, data); err != nil || receipt != (rpc.Receipt{}) {
		t.Fatalf("the sound update: %+v, %v", receipt, err)
	}
	if receipt, err := a.upload(start, data); err != nil || !receipt.Duplicate {
		t.Fatalf("and again: %+v, %v", receipt, err)
	}
	if parts, err := filepath.Glob(filepath.Join(f.c.cfg.DataDir, "incoming", "*")); err != nil || len(parts) != 0 {
		t.Errorf("parts are %v, %v", parts, err)
	}
}

func uploadAs(f *fixture, start rpc.RoundStart, name string, data []byte) (rpc.Receipt, error) {
	sum := sha256.Sum256(data)
	return f.c.Upload(context.Background(), name, rpc.UploadHeader{
		Job: start.Job, Round: start.Round, Attempt: start.Attempt,
		Blob: store.Blob{SHA256: hex.EncodeToString(sum[:]), Size: uint64(len(data))},
	}, fileChunks(data))
}

func fileChunks(data []byte) func() ([]byte, error) {
	r := bytes.NewReader(data)
	return func() ([]byte, error) {
		chunk := make([]byte, fedrpc.ChunkBytes)
		n, err := r.Read(chunk)
		return chunk[:n], err
	}
}
