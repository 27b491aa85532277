package uplink

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// modelCache fetches global models by digest and keeps the newest: the model a
// round starts from mostly is the one just released.
type modelCache struct {
	dir      string
	maxBytes uint64        // of one model
	busy     chan struct{} // held during a fetch, so the same model is not fetched twice at once
}

const (
	partSuffix   = ".part"
	cachedModels = 16
)

func newModelCache(dir string, maxBytes uint64) *modelCache {
	return &modelCache{dir: dir, maxBytes: maxBytes, busy: make(chan struct{}, 1)}
}

// get returns the model named by blob, from disk or from client. A download that
// breaks off is resumed by the next get. Damaged content is a
// *fedrpc.DigestError, and nothing of it is kept.
func (c *modelCache) get(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob) ([]byte, error) {
	if _, err := fedrpc.ParseDigest(blob.GetSha256()); err != nil {
		return nil, err
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	path := filepath.Join(c.dir, blob.GetSha256())
	if data, ok := c.cached(path, blob); ok {
		return data, nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep model: %w", err)
	}
	if err := c.download(ctx, client, blob, path+partSuffix); err != nil {
		return nil, err
	}
	if err := os.Rename(path+partSuffix, path); err != nil {
		return nil, fmt.Errorf("keep model: %w", err)
	}
	c.prune()
	data, ok := c.cached(path, blob)
	if !ok {
		return nil, fmt.Errorf("read model %s just stored: its content changed; check the disk", path)
	}
	return data, nil
}

// cached reads a model from disk, if it is there and what its name says.
func (c *modelCache) cached(path string, blob *fedpb.Blob) ([]byte, bool) {
	info, err := os.Stat(path)
	if err != nil || info.Size() < 0 || uint64(info.Size()) != blob.GetSize() || blob.GetSize() > c.maxBytes {
		return nil, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	digest := sha256.Sum256(data)
	return data, hex.EncodeToString(digest[:]) == blob.GetSha256()
}

func (c *modelCache) download(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob, part string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if we leave it early
	var stream fedpb.Federation_DownloadClient
	r, err := fedrpc.NewBlobReader(func() ([]byte, error) {
		chunk, err := stream.Recv()
		return chunk.GetData(), err
	}, blob.GetSha256(), blob.GetSize(), c.maxBytes)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("keep model: %w", err)
	}
	defer f.Close()
	if err := r.Held(f); err != nil {
		_ = os.Remove(part)
		return err
	}
	stream, err = client.Download(ctx, &fedpb.DownloadRequest{Sha256: blob.GetSha256(), Offset: r.Offset()})
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		// Only a transfer cut short is worth going on with.
		var size *fedrpc.SizeError
		var digest *fedrpc.DigestError
		if errors.As(err, &digest) || errors.As(err, &size) && size.Got > size.Want {
			_ = os.Remove(part)
		}
		return fmt.Errorf("download model %.12s…: %w", blob.GetSha256(), err)
	}
	return nil
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
