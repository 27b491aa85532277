package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
)

// readGlobal reads and decodes a global model.
func (j *jobState) readGlobal(ctx context.Context, sha256 string) (*fedavg.Global, error) {
	data, err := j.c.readBlob(ctx, sha256)
	if err != nil {
		return nil, fmt.Errorf("read global model: %w", err)
	}
	g, err := fedavg.DecodeGlobal(data, j.layout)
	if err != nil {
		return nil, fmt.Errorf("read global model %s: %w; restore the data directory from a backup", sha256, err)
	}
	return g, nil
}

// writeGlobal encodes and stores a global model, and protects the blob from
// being collected until release is called.
func (c *Coordinator) writeGlobal(ctx context.Context, g *fedavg.Global) (blob store.Blob, release func(), err error) {
	data, err := fedavg.EncodeGlobal(g)
	if err != nil {
		return store.Blob{}, nil, err
	}
	return c.writeBlob(ctx, data)
}

// writeBlob stores data, and protects the blob from being collected until release
// is called.
func (c *Coordinator) writeBlob(ctx context.Context, data []byte) (blob store.Blob, release func(), err error) {
	sum := sha256.Sum256(data)
	release = c.pins.hold(hex.EncodeToString(sum[:]))
	if blob, err = c.st.PutBlob(ctx, bytes.NewReader(data)); err != nil {
		release()
		return store.Blob{}, nil, fmt.Errorf("store global model or state: %w", err)
	}
	return blob, release, nil
}

// readBlob reads a whole blob.
func (c *Coordinator) readBlob(ctx context.Context, sha256 string) (data []byte, err error) {
	var b bytes.Buffer
	err = c.readBlobInto(ctx, sha256, &b)
	return b.Bytes(), err
}

// readBlobInto reads a whole blob in the place of what b holds.
func (c *Coordinator) readBlobInto(ctx context.Context, sha256 string, b *bytes.Buffer) (err error) {
	r, err := c.st.OpenBlob(ctx, sha256, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	blob, err := c.st.StatBlob(ctx, sha256)
	if err != nil {
		return err
	}
	b.Reset()
	b.Grow(int(blob.Size) + bytes.MinRead) // in small steps it would take twice the room
	_, err = b.ReadFrom(r)
	return err
}
