package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// aroundBytes is what the system makes resident with a page that is read; bbolt reads
// the first page of what it frees.
const aroundBytes = 64 << 10

// removeBatch is how many pieces one transaction removes.
const removeBatch = 1024

// DeleteBlob implements store.Store. The blob is gone when its entry is; its
// pieces follow, at once or when the last reader is closed or, after a crash,
// at the next Open.
func (s *Store) DeleteBlob(ctx context.Context, digest string) error {
	e, err := s.find(digest)
	if errors.Is(err, store.ErrNotFound) {
		return ctx.Err()
	}
	if err == nil {
		raw, _ := hex.DecodeString(digest) // find accepted it
		err = s.changes.do(ctx, 0, func(tx *bolt.Tx) error {
			blobs := tx.Bucket(blobsBucket)
			if !bytes.Equal(blobs.Get(raw), e.encode()) {
				return refusal{store.ErrNotFound} // deleted meanwhile
			}
			return blobs.Delete(raw)
		})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", digest, err)
	}
	// Nobody can find the entry any more, so no further pin can appear.
	s.mu.Lock()
	pinned := s.pins[e.id] > 0
	if pinned {
		s.doomed[e.id] = struct{}{}
	}
	s.mu.Unlock()
	if pinned {
		return nil
	}
	if err := s.removePieces(context.WithoutCancel(ctx), e.id); err != nil {
		return fmt.Errorf("delete blob %s: %w", digest, err)
	}
	return nil
}

// removePieces deletes all pieces of a blob.
func (s *Store) removePieces(ctx context.Context, id uint64) error {
	for more := true; more; {
		err := s.changes.do(ctx, 0, func(tx *bolt.Tx) error {
			n, err := deletePieces(tx.Bucket(piecesBucket), id, removeBatch)
			more = n == removeBatch
			s.touched(tx, n*aroundBytes)
			return err
		})
		if err != nil {
			return fmt.Errorf("remove pieces: %w", err)
		}
	}
	return nil
}

// deletePieces deletes up to limit pieces of a blob, all if limit is negative,
// and returns how many there were.
func deletePieces(pieces *bolt.Bucket, id uint64, limit int) (int, error) {
	prefix := binary.BigEndian.AppendUint64(nil, id)
	var keys [][]byte
	c := pieces.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(keys) != limit; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := pieces.DeleteBucket(k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// collect removes the pieces that belong to no blob: what a crash left of
// unfinished writes and of deletions.
func (s *Store) collect() error {
	var orphans []uint64
	err := s.view(func(tx *bolt.Tx) error {
		live := map[uint64]struct{}{}
		err := tx.Bucket(blobsBucket).ForEach(func(k, v []byte) error {
			e, err := s.decodeEntry(hex.EncodeToString(k), v)
			live[e.id] = struct{}{}
			return err
		})
		if err != nil {
			return err
		}
		c := tx.Bucket(piecesBucket).Cursor()
		for k, _ := c.First(); k != nil; {
			if len(k) != 12 {
				return s.corrupt("list of pieces", fmt.Errorf("key %x has %d bytes", k, len(k)))
			}
			id := binary.BigEndian.Uint64(k)
			if _, ok := live[id]; !ok {
				orphans = append(orphans, id)
			}
			k, _ = c.Seek(binary.BigEndian.AppendUint64(nil, id+1))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range orphans {
		if err := s.removePieces(context.Background(), id); err != nil {
			return err
		}
	}
	return nil
}
