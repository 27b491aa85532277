package uplink

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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

// get returns the model named by blob, from disk or from client. A download that
// breaks off is resumed by the next get. Damaged content is a
// *fedrpc.DigestError, and nothing of it is kept. A disk that takes nothing only
// costs the next download.
func (c *modelCache) get(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob) ([]byte, error) {
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
	if data, ok := c.cached(path, blob); ok {
		return data, nil
	}
	part := path + partSuffix
	held, err := os.ReadFile(part)
	if err != nil || uint64(len(held)) > blob.GetSize() {
		held = nil
	}
	data, err := c.download(ctx, client, blob, held)
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		c.log.Warn("folder for models cannot be made", "error", err, "mend", localFailure.mend)
	}
	if err == nil {
		if err := durable.WriteFile(path, data); err != nil {
			c.log.Warn("model cannot be kept on disk", "error", err, "mend", localFailure.mend)
		}
		_ = os.Remove(part)
		c.prune()
		return data, nil
	}
	var size *fedrpc.SizeError
	var digest *fedrpc.DigestError
	if errors.As(err, &digest) || errors.As(err, &size) && size.Got > size.Want {
		_ = os.Remove(part)
	} else if len(data) > len(held) {
		_ = os.WriteFile(part, data, 0o600) // worth a try; its digest is checked at the end
	}
	return nil, fmt.Errorf("download model %.12s…: %w", blob.GetSha256(), err)
}

// cached reads a model from disk, if it is there and what its name says.
func (c *modelCache) cached(path string, blob *fedpb.Blob) ([]byte, bool) {
	info, err := os.Stat(path)
	if err != nil || uint64(info.Size()) != blob.GetSize() || blob.GetSize() > c.maxBytes {
		return nil, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	digest := sha256.Sum256(data)
	return data, hex.EncodeToString(digest[:]) == blob.GetSha256()
}

// download fetches what is missing after held. With an error it returns what
// there is so far.
func (c *modelCache) download(ctx context.Context, client fedpb.FederationClient, blob *fedpb.Blob, held []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if we leave it early
	var stream fedpb.Federation_DownloadClient
	r, err := fedrpc.NewBlobReader(func() ([]byte, error) {
		chunk, err := stream.Recv()
		return chunk.GetData(), err
	}, blob.GetSha256(), blob.GetSize(), c.maxBytes)
	if err != nil {
		return nil, err
	}
	if err := r.Held(bytes.NewReader(held)); err != nil {
		return nil, err
	}
	stream, err = client.Download(ctx, &fedpb.DownloadRequest{Sha256: blob.GetSha256(), Offset: r.Offset()})
	if err != nil {
		return nil, err
	}
	data := bytes.NewBuffer(held)
	data.Grow(int(blob.GetSize()) - len(held) + bytes.MinRead) // at most maxBytes
	_, err = data.ReadFrom(r)
	return data.Bytes(), err
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
