package boltstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

// pieceChunks is how many chunks one transaction writes.
const pieceChunks = 4

// entry is the value of a blob in the blobs bucket.
type entry struct{ id, size uint64 }

func (e entry) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e.id), e.size)
}

// PutBlob implements store.Store. It holds at most pieceChunks chunks in memory.
func (s *Store) PutBlob(ctx context.Context, r io.Reader) (store.Blob, error) {
	if err := s.view(func(*bolt.Tx) error { return ctx.Err() }); err != nil {
		return store.Blob{}, fmt.Errorf("store blob: %w", err)
	}
	w := blobWriter{s: s, ctx: ctx}
	blob, err := w.copy(r)
	if err != nil && w.id != 0 {
		// Whatever cannot be removed now is removed by the next Open.
		err = errors.Join(err, s.removePieces(context.WithoutCancel(ctx), w.id))
	}
	if err != nil {
		return store.Blob{}, fmt.Errorf("store blob: %w", err)
	}
	return blob, nil
}

// blobWriter stores one blob, piece after piece.
type blobWriter struct {
	s     *Store
	ctx   context.Context
	id    uint64 // 0 until the first piece is stored
	first uint32 // number of the first chunk not yet stored
}

func (w *blobWriter) copy(r io.Reader) (store.Blob, error) {
	hash, size := sha256.New(), uint64(0)
	var piece bytes.Buffer // grows with the content: most blobs are small
	if known, ok := r.(interface{ Len() int }); ok {
		piece.Grow(min(known.Len(), pieceChunks*store.BlobChunkBytes) + bytes.MinRead)
	}
	for {
		if err := w.ctx.Err(); err != nil {
			return store.Blob{}, err
		}
		n, err := io.CopyN(&piece, r, int64(store.BlobChunkBytes-piece.Len()%store.BlobChunkBytes))
		hash.Write(piece.Bytes()[piece.Len()-int(n):])
		size += uint64(n)
		if err == io.EOF { //nolint:errorlint // a wrapped one is not the end but a failure
			break
		}
		if err != nil {
			return store.Blob{}, fmt.Errorf("read content: %w", err)
		}
		if piece.Len() == pieceChunks*store.BlobChunkBytes {
			if err := w.flush(piece.Bytes(), nil); err != nil {
				return store.Blob{}, err
			}
			piece.Reset()
			failpoint.Here(failpoint.StorePiece)
		}
	}
	digest := hash.Sum(nil)
	err := w.flush(piece.Bytes(), func(tx *bolt.Tx, id uint64) error {
		return tx.Bucket(blobsBucket).Put(digest, entry{id: id, size: size}.encode())
	}, digest...)
	return store.Blob{SHA256: hex.EncodeToString(digest), Size: size}, err
}

// flush stores a piece in one transaction. With finish it is the last one: if
// the store holds digest already, what was written of this copy goes again.
func (w *blobWriter) flush(data []byte, finish func(*bolt.Tx, uint64) error, digest ...byte) error {
	id := w.id
	err := w.s.changes.do(w.ctx, len(data), func(tx *bolt.Tx) (err error) {
		blobs, pieces := tx.Bucket(blobsBucket), tx.Bucket(piecesBucket)
		if finish != nil && blobs.Get(digest) != nil {
			_, err := deletePieces(pieces, w.id, -1)
			return err
		}
		if id = w.id; id == 0 {
			if id, err = blobs.NextSequence(); err != nil {
				return err
			}
		}
		if err := putPiece(pieces, id, w.first, data); err != nil || finish == nil {
			return err
		}
		return finish(tx, id)
	})
	if err != nil {
		return err
	}
	w.id = id
	w.first += pieceChunks
	return nil
}

// putPiece stores data, cut into chunks, as the piece that begins with chunk first.
func putPiece(pieces *bolt.Bucket, id uint64, first uint32, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	piece, err := pieces.CreateBucket(pieceKey(id, first))
	if err != nil {
		return err
	}
	for n := first; len(data) > 0; n++ {
		part := data[:min(len(data), store.BlobChunkBytes)]
		data = data[len(part):]
		value := make([]byte, 4, 4+len(part))
		binary.BigEndian.PutUint32(value, crc32.Checksum(part, castagnoli))
		if err := piece.Put(binary.BigEndian.AppendUint32(nil, n), append(value, part...)); err != nil {
			return err
		}
	}
	return nil
}

func pieceKey(id uint64, first uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, id), first)
}

// StatBlob implements store.Store.
func (s *Store) StatBlob(ctx context.Context, digest string) (store.Blob, error) {
	if err := ctx.Err(); err != nil {
		return store.Blob{}, err
	}
	e, err := s.find(digest)
	if err != nil {
		return store.Blob{}, fmt.Errorf("stat blob %s: %w", digest, err)
	}
	return store.Blob{SHA256: digest, Size: e.size}, nil
}

// find returns a blob's entry or store.ErrNotFound.
func (s *Store) find(digest string) (e entry, err error) {
	raw, bad := hex.DecodeString(digest)
	err = s.view(func(tx *bolt.Tx) error {
		if bad != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != digest {
			return store.ErrNotFound
		}
		v := tx.Bucket(blobsBucket).Get(raw)
		if v == nil {
			return store.ErrNotFound
		}
		e, err = s.decodeEntry(digest, v)
		return err
	})
	return e, err
}

func (s *Store) decodeEntry(digest string, v []byte) (entry, error) {
	if len(v) != 16 {
		return entry{}, s.corrupt("blob "+digest, fmt.Errorf("its entry has %d bytes", len(v)))
	}
	return entry{id: binary.BigEndian.Uint64(v), size: binary.BigEndian.Uint64(v[8:])}, nil
}

// ListBlobs implements store.Store.
func (s *Store) ListBlobs(ctx context.Context) ([]store.Blob, error) {
	var list []store.Blob
	err := s.view(func(tx *bolt.Tx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return tx.Bucket(blobsBucket).ForEach(func(k, v []byte) error {
			digest := hex.EncodeToString(k)
			e, err := s.decodeEntry(digest, v)
			list = append(list, store.Blob{SHA256: digest, Size: e.size})
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	return list, nil
}
