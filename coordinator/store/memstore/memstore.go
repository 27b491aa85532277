// Package memstore is a store.Store in memory: for tests, and for federations
// that may forget. Nothing in it survives the process.
package memstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// Store keeps everything in maps.
type Store struct {
	mu       sync.Mutex
	closed   bool
	revision uint64 // last one given out, over all keys, so that none repeats
	records  map[string]store.Record
	blobs    map[string][]byte // never changed once stored, so readers share them
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{records: map[string]store.Record{}, blobs: map[string][]byte{}}
}

// lock returns with the store locked, or with an error and unlocked.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.lock(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	r, ok := s.records[key]
	if !ok {
		return store.Record{}, fmt.Errorf("get record %q: %w", key, store.ErrNotFound)
	}
	return clone(r), nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var list []store.Record
	for key, r := range s.records {
		if strings.HasPrefix(key, prefix) {
			list = append(list, clone(r))
		}
	}
	slices.SortFunc(list, func(a, b store.Record) int { return strings.Compare(a.Key, b.Key) })
	return list, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := store.CheckKey(key); err != nil {
		return 0, err
	}
	if len(value) > store.MaxRecordBytes {
		return 0, &store.SizeError{Key: key, Got: len(value), Max: store.MaxRecordBytes}
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if got := s.records[key].Revision; got != revision {
		return 0, &store.ConflictError{Key: key, Got: got, Want: revision}
	}
	s.revision++
	s.records[key] = clone(store.Record{Key: key, Value: value, Revision: s.revision})
	return s.revision, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if got := s.records[key].Revision; got != revision {
		return &store.ConflictError{Key: key, Got: got, Want: revision}
	}
	delete(s.records, key)
	return nil
}

// PutBlob implements store.Store.
func (s *Store) PutBlob(ctx context.Context, r io.Reader) (store.Blob, error) {
	if err := s.lock(ctx); err != nil { // before r is touched
		return store.Blob{}, err
	}
	s.mu.Unlock()
	var buf bytes.Buffer
	piece := make([]byte, store.BlobChunkBytes)
	for {
		n, err := r.Read(piece)
		buf.Write(piece[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return store.Blob{}, fmt.Errorf("store blob: read content: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return store.Blob{}, err
		}
	}
	content := bytes.Clone(buf.Bytes()) // without the buffer's spare capacity
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	if err := s.lock(ctx); err != nil {
		return store.Blob{}, err
	}
	defer s.mu.Unlock()
	if _, ok := s.blobs[digest]; !ok {
		s.blobs[digest] = content
	}
	return store.Blob{SHA256: digest, Size: uint64(len(content))}, nil
}

// OpenBlob implements store.Store.
func (s *Store) OpenBlob(ctx context.Context, digest string, offset uint64) (io.ReadCloser, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	content, ok := s.blobs[digest]
	if !ok {
		return nil, fmt.Errorf("open blob %s: %w", digest, store.ErrNotFound)
	}
	if offset > uint64(len(content)) {
		return nil, &store.OffsetError{SHA256: digest, Offset: offset, Size: uint64(len(content))}
	}
	return &reader{ctx: ctx, s: s, rest: content[offset:]}, nil
}

// StatBlob implements store.Store.
func (s *Store) StatBlob(ctx context.Context, digest string) (store.Blob, error) {
	if err := s.lock(ctx); err != nil {
		return store.Blob{}, err
	}
	defer s.mu.Unlock()
	content, ok := s.blobs[digest]
	if !ok {
		return store.Blob{}, fmt.Errorf("stat blob %s: %w", digest, store.ErrNotFound)
	}
	return store.Blob{SHA256: digest, Size: uint64(len(content))}, nil
}

// ListBlobs implements store.Store.
func (s *Store) ListBlobs(ctx context.Context) ([]store.Blob, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var list []store.Blob
	for _, digest := range slices.Sorted(maps.Keys(s.blobs)) {
		list = append(list, store.Blob{SHA256: digest, Size: uint64(len(s.blobs[digest]))})
	}
	return list, nil
}

// DeleteBlob implements store.Store.
func (s *Store) DeleteBlob(ctx context.Context, digest string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	delete(s.blobs, digest)
	return nil
}

// Close implements store.Store and forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.records, s.blobs = true, nil, nil
	return nil
}

func clone(r store.Record) store.Record {
	r.Value = append([]byte{}, r.Value...) // empty, not nil, like a stored one
	return r
}

// reader yields a blob. It holds the content itself, so deleting the blob does
// not concern it.
type reader struct {
	ctx  context.Context
	s    *Store
	rest []byte
	done bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.done {
		return 0, fmt.Errorf("read blob: reader is closed")
	}
	if err := r.s.lock(r.ctx); err != nil {
		return 0, err
	}
	r.s.mu.Unlock()
	if len(r.rest) == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *reader) Close() error {
	r.done, r.rest = true, nil
	return nil
}
