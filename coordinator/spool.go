package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Large updates are received into a file, so that one that breaks off goes on
// where it stopped, and nothing has to hold them in memory. The file proves
// nothing: digest and content are checked when it is whole, on the way into the store.

const (
	// spoolFrom is the size from which an update is received into a file.
	spoolFrom = 1 << 20
	// spoolAge is how long a part is kept that nobody goes on with.
	spoolAge = 24 * time.Hour
)

// spool is the directory of parts, one a gateway and job.
type spool struct {
	dir string

	mu   sync.Mutex
	busy map[string]bool // parts that an upload writes to
}

func newSpool(dir string) *spool { return &spool{dir: dir, busy: map[string]bool{}} }

// sweep deletes parts that nobody will go on with. It is called at the start.
func (s *spool) sweep() error {
	files, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		info, infoErr := f.Info()
		if infoErr == nil && time.Since(info.ModTime()) < spoolAge {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(s.dir, f.Name())))
	}
	if err != nil {
		return fmt.Errorf("sweep parts of updates: %w", err)
	}
	return nil
}

// name is the file of a part. Neither a gateway's nor a job's name has a '~'.
func (s *spool) name(job, gateway, sha256 string) string {
	return filepath.Join(s.dir, job+"~"+gateway+"~"+sha256+".part")
}

// held is how much of an update is there.
func (s *spool) held(job, gateway string, blob store.Blob) uint64 {
	info, err := os.Stat(s.name(job, gateway, blob.SHA256))
	if err != nil || uint64(info.Size()) > blob.Size {
		return 0
	}
	return uint64(info.Size())
}

// open takes the part for an upload that begins at offset; release gives it back.
// Another update of the same gateway and job takes the place of an older one.
func (s *spool) open(job, gateway string, blob store.Blob, offset uint64) (f *os.File, release func(), err error) {
	path := s.name(job, gateway, blob.SHA256)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[path] {
		return nil, nil, rpc.Refuse(rpc.Busy, errors.New("the same update is being received already; send it again later"))
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, nil, err
	}
	others, err := filepath.Glob(s.name(job, gateway, "*"))
	if err != nil {
		return nil, nil, err
	}
	for _, o := range others {
		if o != path && !s.busy[o] {
			_ = os.Remove(o)
		}
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && uint64(info.Size()) < offset {
		err = rpc.Refuse(rpc.Damaged, fmt.Errorf("update goes on at byte %d, but only %d are held; send it from its beginning", offset, info.Size()))
	}
	if err == nil {
		err = f.Truncate(int64(offset))
	}
	if err == nil {
		_, err = f.Seek(int64(offset), io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	s.busy[path] = true
	return f, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, path)
		f.Close() // what was not written shows in the digest
	}, nil
}

// UploadStatus implements rpc.Backend.
func (c *Coordinator) UploadStatus(_ context.Context, gateway string, h rpc.UploadHeader) (uint64, error) {
	u := &upload{c: c, gateway: gateway, header: h, id: roundID{h.Job, h.Round, h.Attempt}}
	if err := u.find(); err != nil {
		return 0, err
	}
	if base, _, err := u.place(); err != nil || base == "" {
		return 0, err
	}
	return c.spool.held(h.Job, gateway, h.Blob), nil
}

// storeLarge is the part of store that takes in the bytes, by way of a file.
func (u *upload) storeLarge(ctx context.Context, base string, recv func() ([]byte, error)) (store.Blob, *fedavg.Update, error) {
	blob := u.header.Blob
	f, release, err := u.c.spool.open(u.id.Job, u.gateway, blob, u.header.Offset)
	if err != nil {
		return store.Blob{}, nil, u.spoolFailed(err)
	}
	defer release()
	if err := u.receive(ctx, f, recv); err != nil {
		return store.Blob{}, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return store.Blob{}, nil, u.spoolFailed(err)
	}
	stored, update, err := u.storeFile(ctx, base, f)
	var refusal *rpc.Refusal
	if err == nil || errors.As(err, &refusal) && refusal.Reason != rpc.StoreFailed {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return stored, update, err
}

// receive appends what comes to the file.
func (u *upload) receive(ctx context.Context, f *os.File, recv func() ([]byte, error)) error {
	for at := u.header.Offset; ; {
		chunk, err := recv()
		switch {
		case errors.Is(err, io.EOF) && at < u.header.Blob.Size:
			return rpc.Refuse(rpc.Damaged, fmt.Errorf("receive update: %w; go on with it", &fedrpc.SizeError{Got: at, Want: u.header.Blob.Size}))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case uint64(len(chunk)) > u.header.Blob.Size-at:
			return errors.Join(f.Truncate(0), rpc.Refuse(rpc.Damaged, errors.New("receive update: it is longer than announced; send it again")))
		}
		if _, err := f.Write(chunk); err != nil {
			return u.spoolFailed(err)
		}
		at += uint64(len(chunk))
		u.c.metrics.bytesIn.Add(float64(len(chunk)))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// storeFile puts a whole file into the store and verifies it on the way.
func (u *upload) storeFile(ctx context.Context, base string, f io.ReadSeeker) (store.Blob, *fedavg.Update, error) {
	var begin [8]byte
	if _, err := io.ReadFull(f, begin[:]); err != nil {
		return store.Blob{}, nil, u.spoolFailed(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return store.Blob{}, nil, u.spoolFailed(err)
	}
	whole, err := fedrpc.NewBlobReader(chunksFrom(f), u.header.Blob.SHA256, u.header.Blob.Size, u.header.Blob.Size)
	if err != nil {
		return store.Blob{}, nil, rpc.Refuse(rpc.Malformed, err)
	}
	// A safetensors file begins with the length of its header, at most 1 MiB;
	// anything else is compressed, or nothing, and has to be read as a whole.
	if begin[3]|begin[4]|begin[5]|begin[6]|begin[7] != 0 {
		stored, err := u.c.st.PutBlob(ctx, whole)
		if err != nil {
			return store.Blob{}, nil, u.putFailed(ctx, err)
		}
		update, err := u.decode(ctx, base, func() ([]byte, error) { return u.c.readBlob(ctx, stored.SHA256) })
		return stored, update, err
	}
	scan := newScan(whole, u.j.updates)
	stored, err := u.c.st.PutBlob(ctx, scan)
	update, found := scan.result()
	switch {
	case found != nil && err != nil:
		return store.Blob{}, nil, u.judge(nil, found, base)
	case err != nil:
		return store.Blob{}, nil, u.putFailed(ctx, err)
	}
	return stored, update, u.judge(update, found, base)
}

// chunksFrom reads r in chunks, for a fedrpc.BlobReader.
func chunksFrom(r io.Reader) func() ([]byte, error) {
	buf := make([]byte, fedrpc.ChunkBytes)
	return func() ([]byte, error) {
		n, err := r.Read(buf)
		if n > 0 {
			return buf[:n], nil
		}
		return nil, err
	}
}

func (u *upload) spoolFailed(err error) error {
	var refusal *rpc.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return u.storeFailed(err)
}

// scan yields what its source does and verifies it meanwhile. What is wrong takes
// the place of the end, so that a store keeps nothing of it.
type scan struct {
	source io.Reader
	pipe   *io.PipeWriter
	done   chan struct{}
	update *fedavg.Update
	err    error
	ended  bool
}

func newScan(source io.Reader, layout fedavg.Layout) *scan {
	r, w := io.Pipe()
	s := &scan{source: source, pipe: w, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.update, s.err = fedavg.ScanUpdate(r, layout)
		_ = r.CloseWithError(s.err) // always nil; after the end writes go nowhere
	}()
	return s
}

func (s *scan) Read(p []byte) (int, error) {
	n, err := s.source.Read(p)
	if n > 0 {
		if _, werr := s.pipe.Write(p[:n]); werr != nil {
			return 0, fmt.Errorf("verify update: %w", werr)
		}
	}
	if errors.Is(err, io.EOF) {
		if _, found := s.result(); found != nil {
			return n, found
		}
	}
	return n, err
}

// result waits for the verdict on what was read, which is all if the end was.
func (s *scan) result() (*fedavg.Update, error) {
	if !s.ended {
		s.ended = true
		_ = s.pipe.Close() // always nil
		<-s.done
	}
	return s.update, s.err
}
