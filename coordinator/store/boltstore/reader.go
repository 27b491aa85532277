package boltstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// OpenBlob implements store.Store.
func (s *Store) OpenBlob(ctx context.Context, digest string, offset uint64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(digest)
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", digest, err)
	}
	if offset > e.size {
		return nil, &store.OffsetError{SHA256: digest, Offset: offset, Size: e.size}
	}
	s.pins[e.id]++ // under the lock that covers find, so DeleteBlob sees it
	r := &reader{s: s, ctx: ctx, entry: e, digest: digest, pos: offset}
	if offset == 0 {
		r.hash = sha256.New()
	}
	return r, nil
}

// reader yields a blob chunk by chunk. It holds a pin and no transaction: an
// open transaction would keep bbolt's file from growing and could so block the
// very goroutine that reads.
type reader struct {
	s      *Store
	ctx    context.Context
	entry  entry
	digest string
	pos    uint64 // of the next byte to load
	chunk  []byte // loaded and not yet read
	hash   hash.Hash
	buf    []byte
	err    error // sticky
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.chunk) == 0 {
		var n int
		if n, r.err = r.load(p); n > 0 || r.err != nil {
			return n, r.err
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// load fetches and checks the chunk at pos: n bytes of it into p if all of it fits
// there, which spares most blobs a copy, else into r.chunk. At the end it returns
// io.EOF.
func (r *reader) load(p []byte) (n int, err error) {
	if r.pos == r.entry.size {
		if r.hash == nil || hex.EncodeToString(r.hash.Sum(nil)) == r.digest {
			return 0, r.s.view(func(*bolt.Tx) error { return io.EOF })
		}
		return 0, r.s.corrupt("blob "+r.digest, errors.New("its content has another digest"))
	}
	number := uint32(r.pos / store.BlobChunkBytes)
	start := uint64(number) * store.BlobChunkBytes
	want := int(min(store.BlobChunkBytes, r.entry.size-start))
	direct := r.pos == start && len(p) >= want
	into := r.buf[:0]
	if direct {
		into = p[:0]
	}
	err = r.s.view(func(tx *bolt.Tx) error {
		piece := tx.Bucket(piecesBucket).Bucket(pieceKey(r.entry.id, number-number%pieceChunks))
		var v []byte
		if piece != nil {
			v = piece.Get(binary.BigEndian.AppendUint32(nil, number))
		}
		if len(v) != 4+want {
			return r.s.corrupt("blob "+r.digest, fmt.Errorf("chunk %d has %d bytes, not %d", number, max(len(v)-4, 0), want))
		}
		into = append(into, v[4:]...)
		if crc32.Checksum(into, castagnoli) != binary.BigEndian.Uint32(v) {
			return r.s.corrupt("blob "+r.digest, fmt.Errorf("the checksum of chunk %d does not match", number))
		}
		r.s.touched(tx, want)
		return nil
	})
	if err != nil {
		return 0, err
	}
	fresh := into[r.pos-start:]
	r.pos = start + uint64(want)
	if r.hash != nil {
		r.hash.Write(fresh)
	}
	if direct {
		return want, nil
	}
	r.buf, r.chunk = into, fresh
	return 0, nil
}

var errReaderClosed = errors.New("read blob: reader is closed")

// Close lets go of the blob and removes its pieces if it was deleted meanwhile.
func (r *reader) Close() error {
	if errors.Is(r.err, errReaderClosed) {
		return nil
	}
	r.err, r.chunk, r.buf = errReaderClosed, nil, nil
	s, id := r.s, r.entry.id
	s.mu.Lock()
	s.pins[id]--
	remove := false
	if s.pins[id] == 0 {
		delete(s.pins, id)
		_, remove = s.doomed[id]
		delete(s.doomed, id)
	}
	s.mu.Unlock()
	if !remove {
		return nil
	}
	err := s.removePieces(context.WithoutCancel(r.ctx), id)
	if errors.Is(err, store.ErrClosed) {
		return nil // the next Open removes them
	}
	return err
}
