package uplink

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// modelCache fetches global models by digest and keeps the newest: the model a
// round starts from mostly is the one just released.
type modelCache struct {
	dir      string
	maxBytes uint64 // of one model
	log      *slog.Logger
	busy     chan struct{} // held during a fetch, so the same model is not fetched twice at once
}

const (
	partSuffix   = ".part"
	cachedModels = 16
)

func newModelCache(dir string, maxBytes uint64, log *slog.Logger) *modelCache {
	return &modelCache{dir: dir, maxBytes: maxBytes, log: log, busy: make(chan struct{}, 1)}
}

// fetched is a model that has been checked: on disk, or in memory if the disk
// takes nothing.
type fetched struct {
	path string
	data []byte
}

// bytes returns the model's file.
func (f *fetched) bytes() ([]byte, error) {
	if f.path == "" {
		return f.data, nil
	}
	return os.ReadFile(f.path)
}

// get returns the model named by blob, from disk or from client. It goes to disk
// as it comes, in constant memory. A download that breaks off is resumed by the
// next get. Damaged content is a *fedrpc.DigestError, and nothing of it is kept. A
// disk that takes nothing costs memory, and the next download.
func (c *modelCache) get(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob) (*fetched, error) {
	if _, err := fedrpc.ParseDigest(blob.GetSha256()); err != nil {
		return nil, err // it would become a file name
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	path := filepath.Join(c.dir, blob.GetSha256())
	if c.cached(path, blob) {
		return &fetched{path: path}, nil
	}
	f, err := c.openPart(path + partSuffix)
	if err != nil {
		c.log.Warn("model cannot be kept on disk", "error", err, "mend", localFailure.mend)
		return c.toMemory(ctx, client, blob)
	}
	err = c.download(ctx, client, blob, f)
	var disk *diskError
	var size *fedrpc.SizeError
	var digest *fedrpc.DigestError
	switch {
	case err == nil:
		if err = c.keep(f, path); err == nil {
			c.prune()
			return &fetched{path: path}, nil
		}
		disk = &diskError{err}
	case errors.As(err, &disk):
	case errors.As(err, &digest), errors.As(err, &size) && size.Got > size.Want:
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil, fmt.Errorf("download model %.12s…: %w", blob.GetSha256(), err)
	default:
		_ = f.Close() // the part is worth a try; its digest is checked at the end
		return nil, fmt.Errorf("download model %.12s…: %w", blob.GetSha256(), err)
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	c.log.Warn("model cannot be kept on disk", "error", disk.err, "mend", localFailure.mend)
	return c.toMemory(ctx, client, blob)
}

// diskError is a failure to write what was received.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

func (c *modelCache) openPart(path string) (*os.File, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// keep makes a whole part the model's file.
func (c *modelCache) keep(f *os.File, path string) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(c.dir)
}

// cached says whether a model is on disk and what its name says.
func (c *modelCache) cached(path string, blob *fedpb.Blob) bool {
	info, err := os.Stat(path)
	if err != nil || uint64(info.Size()) != blob.GetSize() || blob.GetSize() > c.maxBytes {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return err == nil && hex.EncodeToString(hash.Sum(nil)) == blob.GetSha256()
}

// toMemory downloads all of a model and keeps it in memory.
func (c *modelCache) toMemory(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob) (*fetched, error) {
	r, err := c.reader(ctx, client, blob, nil)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	data := bytes.NewBuffer(make([]byte, 0, int(blob.GetSize())+bytes.MinRead)) // at most maxBytes
	if _, err := data.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("download model %.12s…: %w", blob.GetSha256(), err)
	}
	return &fetched{data: data.Bytes()}, nil
}

// download appends to f what is missing of the model.
func (c *modelCache) download(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob, f *os.File) error {
	info, err := f.Stat()
	if err == nil && uint64(info.Size()) > blob.GetSize() {
		err = f.Truncate(0)
	}
	if err != nil {
		return &diskError{err}
	}
	r, err := c.reader(ctx, client, blob, f)
	if err != nil {
		return err
	}
	defer r.stop()
	_, err = io.Copy(diskWriter{f}, r)
	return err
}

// diskWriter tells errors of the disk from those of the line.
type diskWriter struct{ f *os.File }

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}

// blobStream is a model on its way; stop ends it.
type blobStream struct {
	*fedrpc.BlobReader
	stop context.CancelFunc
}

// reader asks client for what comes after held, which may be nil.
func (c *modelCache) reader(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob, held io.Reader) (*blobStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	var stream fedpb.Federation_DownloadClient
	r, err := fedrpc.NewBlobReader(func() ([]byte, error) {
		chunk, err := stream.Recv()
		return chunk.GetData(), err
	}, blob.GetSha256(), blob.GetSize(), c.maxBytes)
	if err == nil && held != nil {
		err = r.Held(held)
	}
	if err == nil {
		stream, err = client.Download(ctx, &fedpb.DownloadRequest{Sha256: blob.GetSha256(), Offset: r.Offset()})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &blobStream{r, cancel}, nil
}

// prune removes all but the newest files.
func (c *modelCache) prune() {
	files, err := os.ReadDir(c.dir)
	if err != nil || len(files) <= cachedModels {
		return
	}
	modified := func(f os.DirEntry) int64 {
		if info, err := f.Info(); err == nil {
			return info.ModTime().UnixNano()
		}
		return 0
	}
	slices.SortFunc(files, func(a, b os.DirEntry) int {
		return cmp.Compare(modified(a), modified(b))
	})
	for _, f := range files[:len(files)-cachedModels] {
		_ = os.Remove(filepath.Join(c.dir, f.Name()))
	}
}
