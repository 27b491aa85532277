package uplink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// largeServer makes a process of this test an agent that transfers with it.
const largeServer = "MILLWRIGHT_TEST_LARGE_SERVER"

// A large model comes in and a large update goes out in little memory, and both
// go on after a cut where they stopped.
func TestLarge_Transfer(t *testing.T) { transferLarge(t, 32<<20, 24<<20, "heap") }

// archive is a coordinator that has one model, of zeros, and takes one update. It
// cuts each the first two times, and remembers where the agent went on.
type archive struct {
	fedpb.UnimplementedFederationServer

	size int64

	mu        sync.Mutex
	downloads []uint64 // offsets asked for
	uploads   []uint64 // offsets gone on at
	held      uint64
	hash      hash.Hash
}

func (a *archive) Download(r *fedpb.DownloadRequest, s fedpb.Federation_DownloadServer) error {
	a.mu.Lock()
	a.downloads = append(a.downloads, r.GetOffset())
	end := uint64(a.size)
	if n := len(a.downloads); n <= 2 {
		end = uint64(n) * end / 3
	}
	a.mu.Unlock()
	zeros := io.LimitReader(zeroReader{}, int64(end-r.GetOffset()))
	if err := fedrpc.SendBlob(func(data []byte) error { return s.Send(&fedpb.BlobChunk{Data: data}) }, zeros); err != nil {
		return err
	}
	if end < uint64(a.size) {
		return status.Error(codes.Unavailable, "the line is cut")
	}
	return nil
}

func (a *archive) UploadStatus(context.Context, *fedpb.UploadHeader) (*fedpb.UploadState, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &fedpb.UploadState{Offset: a.held}, nil
}

func (a *archive) Upload(s fedpb.Federation_UploadServer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	cut := ^uint64(0)
	for first := true; ; first = false {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&fedpb.UploadReceipt{})
		}
		if err != nil {
			return err
		}
		if first {
			if m.GetHeader().GetOffset() != a.held {
				return status.Errorf(codes.DataLoss, "goes on at %d, held is %d", m.GetHeader().GetOffset(), a.held)
			}
			a.uploads = append(a.uploads, a.held)
			if n := len(a.uploads); n <= 2 {
				cut = uint64(n) * uint64(a.size) / 3
			}
		}
		a.hash.Write(m.GetData())
		if a.held += uint64(len(m.GetData())); a.held >= cut {
			return status.Error(codes.Unavailable, "the line is cut")
		}
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func digestOfZeros(t *testing.T, n int64) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.CopyN(h, zeroReader{}, n); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// transferLarge runs the agent's side in a process of its own, because memory is
// counted by process, and checks how much it grew: all of it, or the heap alone,
// since the race detector multiplies the rest.
func transferLarge(t *testing.T, size, mostExtra int64, what string) {
	t.Helper()
	a := &archive{size: size, hash: sha256.New()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(fedrpc.ServerOptions()...)
	fedpb.RegisterFederationServer(server, a)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Stop()

	cmd := exec.Command(os.Args[0], "-test.run", "^TestLarge_Process$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", largeServer, l.Addr(), size))
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
	third := uint64(size) / 3
	for i, offset := range a.downloads {
		// The second third may begin a little late: what was under way at the cut is lost.
		if i == 0 && offset != 0 || i > 0 && (offset > uint64(i)*third+1 || offset+2*fedrpc.ChunkBytes < uint64(i)*third) {
			t.Errorf("download %d went on at %d, the cut was at %d", i, offset, uint64(i)*third)
		}
	}
	for i, offset := range a.uploads {
		if i == 0 && offset != 0 || i > 0 && offset < uint64(i)*third {
			t.Errorf("upload %d went on at %d, the cut was at %d", i, offset, uint64(i)*third)
		}
	}
	if len(a.downloads) != 3 || len(a.uploads) != 3 {
		t.Errorf("downloads at %v, uploads at %v", a.downloads, a.uploads)
	}
	if got, want := hex.EncodeToString(a.hash.Sum(nil)), digestOfZeros(t, size); got != want {
		t.Errorf("the update arrived with digest %s, not %s", got, want)
	}
}

// TestLarge_Process is the process that transferLarge starts.
func TestLarge_Process(t *testing.T) {
	var address string
	var size int64
	if _, err := fmt.Sscan(os.Getenv(largeServer), &address, &size); err != nil {
		t.Skip("runs as a part of TestLarge_Transfer")
	}
	conn, err := grpc.NewClient(address, append(fedrpc.ClientOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dir := t.TempDir()
	box, e := largeOutbox(t, filepath.Join(dir, "outbox"), size)
	u := &Uplink{
		models: newModelCache(filepath.Join(dir, "models"), uint64(size), quiet()), line: newLine(), diary: newDiary(quiet()), log: quiet(),
		memory: &memory{dir: filepath.Join(dir, "memory")},
	}
	u.shown.s.UpdatesDropped = map[string]uint64{}
	c := &connection{client: fedpb.NewFederationClient(conn), done: make(chan struct{})}
	u.line.up(c)

	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skipf("the peak of memory cannot be reset: %v", err)
	}
	before, heap := resident(t, "VmRSS"), watchHeap()
	model, err := u.fetch(t.Context(), &fedpb.Blob{Sha256: e.SHA256, Size: e.Size})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(model.path); err != nil || info.Size() != size {
		t.Errorf("the model on disk: %v, %v", info, err)
	}
	for tries := 0; !u.offer(t.Context(), c, box, e); tries++ {
		if tries == 10 {
			t.Fatal("the update is not taken")
		}
	}
	t.Logf("process grew by %d bytes from %d", resident(t, "VmHWM")-before, before)
	t.Logf("heap grew by %d", heap())
}

// largeOutbox makes an outbox with an update of so many zeros, without holding
// them in memory.
func largeOutbox(t *testing.T, dir string, size int64) (*outbox, entry) {
	t.Helper()
	e := entry{task: task{"pump", 1, 1}, Base: "base", SHA256: digestOfZeros(t, size), Size: uint64(size)}
	header, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "pump.1.1"+pendingSuffix))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, io.MultiReader(bytes.NewReader(append(header, '\n')), io.LimitReader(zeroReader{}, size)))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	box, bad, err := openOutbox(dir)
	if err != nil || len(bad) != 0 || len(box.list()) != 1 {
		t.Fatalf("outbox holds %v, bad is %v, %v", box.list(), bad, err)
	}
	return box, e
}

// watchHeap returns how to end watching, which tells by how much the heap grew at
// most, garbage included.
func watchHeap() func() int64 {
	read := func() int64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
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

// resident reads a size from /proc/self/status, in bytes.
func resident(t *testing.T, field string) int64 {
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
