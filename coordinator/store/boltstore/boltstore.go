// Package boltstore is a store.Store in one bbolt file, for a single coordinator.
//
// Every change is synced to disk before it is acknowledged; changes that arrive
// while a sync is under way share the next one. The file is laid out as
//
//	meta     "format" → version of this layout
//	records  key → revision (8) · CRC-32C (4) · value; its sequence is the last revision
//	blobs    SHA-256 (32) → id (8) · size (8); its sequence is the last id
//	pieces   id (8) · number of first chunk (4) → bucket: chunk number (4) → CRC-32C (4) · chunk
//
// with big-endian numbers. A blob exists when it stands in blobs, which happens
// in the transaction that writes its last piece. Pieces of no blob are what a
// crash left of an unfinished write; Open removes them. A piece is one
// transaction's worth of chunks in a bucket, and so in a page run, of its own,
// because bbolt rewrites a leaf page whenever a neighbour is added to it.
package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

// FileName is the name of the store's file in its directory.
const FileName = "coordinator.db"

const format = 1

var (
	metaBucket    = []byte("meta")
	recordsBucket = []byte("records")
	blobsBucket   = []byte("blobs")
	piecesBucket  = []byte("pieces")
	formatKey     = []byte("format")
)

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("another coordinator is using it: stop that one, or give this one its own data_dir")

// Options tune a Store; the zero value is usable.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of the
	// file. Default 2 s.
	LockTimeout time.Duration
}

// Store is a store.Store in a bbolt file.
type Store struct {
	path    string
	db      *bolt.DB
	changes committer
	touches atomic.Int64 // bytes of the mapped file made resident since its pages were last released

	mu     sync.Mutex          // guards pins and doomed; never held during a change
	pins   map[uint64]int      // readers by blob id
	doomed map[uint64]struct{} // ids deleted while pinned; the last reader removes their pieces
}

var _ store.Store = (*Store)(nil)

// Open opens the store in dir, creating both if they do not exist. The error is
// ErrInUse, wrapped with the path, if another process has it open, and a
// *store.CorruptError if the file is damaged; it then is left as it was.
func Open(dir string, opts Options) (*Store, error) {
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = 2 * time.Second
	}
	path := filepath.Join(dir, FileName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := create(path, opts); err != nil {
		return nil, fmt.Errorf("create store %q: %w", path, err)
	}
	if err := inspect(path, opts.LockTimeout); err != nil {
		return nil, openError(path, err)
	}
	db, err := openBolt(path, opts)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &Store{path: path, db: db, pins: map[uint64]int{}, doomed: map[uint64]struct{}{}}
	s.changes.update = s.update
	err = s.checkFormat()
	if err == nil {
		err = errors.Join(s.collect(), sweep(dir))
	}
	if err != nil {
		return nil, openError(path, errors.Join(err, db.Close()))
	}
	return s, nil
}

// openBolt opens the file for writing. The free list is not kept in the file,
// which would rewrite all of it at every commit, but found anew at open.
func openBolt(path string, opts Options) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout: opts.LockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
}

// create makes the file under another name and links it to path when it is
// whole, so that a power cut during the very first start leaves no torn file.
func create(path string, opts Options) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".store-new-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	fresh := filepath.Join(tmp, FileName)
	db, err := openBolt(fresh, opts)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{metaBucket, recordsBucket, blobsBucket, piecesBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(formatKey, binary.BigEndian.AppendUint64(nil, format))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace the file of a process that was faster.
	if err := os.Link(fresh, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes what interrupted creations left in dir. The caller holds the lock
// of the file they did not get to make.
func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".store-new-*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

func (s *Store) checkFormat() error {
	return s.view(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			return errors.New("it is a bbolt file of another program: choose another data_dir")
		}
		got := meta.Get(formatKey)
		if len(got) != 8 {
			return s.corrupt("format", fmt.Errorf("it has %d bytes", len(got)))
		}
		if v := binary.BigEndian.Uint64(got); v != format {
			return fmt.Errorf("it has format %d, this program writes %d: use the version of millwright-coordinator that wrote it", v, format)
		}
		for _, name := range [][]byte{recordsBucket, blobsBucket, piecesBucket} {
			if tx.Bucket(name) == nil {
				return s.corrupt(string(name), errors.New("it is missing"))
			}
		}
		return nil
	})
}

// Close implements store.Store.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store %q: %w", s.path, err)
	}
	return nil
}

// releaseEvery is after how many bytes the mapped file's pages are released.
const releaseEvery = 8 << 20

// touched counts bytes that were made resident by reading the mapped file, and
// releases them when they are many.
func (s *Store) touched(tx *bolt.Tx, bytes int) {
	if s.touches.Add(int64(bytes)) >= releaseEvery {
		s.touches.Store(0)
		release(tx)
	}
}

// view runs f in a read transaction. Keep it short: a file that grows waits for
// all of them.
func (s *Store) view(f func(*bolt.Tx) error) (err error) {
	defer s.recovered(&err)
	return translate(s.db.View(f))
}

// update runs f in one durable transaction; use Store.changes, which shares it.
func (s *Store) update(f func(*bolt.Tx) error) (err error) {
	defer s.recovered(&err)
	err = s.db.Update(func(tx *bolt.Tx) error {
		err := f(tx)
		failpoint.Here(failpoint.StoreCommits)
		return err
	})
	failpoint.Here(failpoint.StoreCommitted)
	return translate(err)
}

// recovered turns bbolt's panics about impossible pages into errors. bbolt has
// rolled back by then.
func (s *Store) recovered(err *error) {
	if r := recover(); r != nil {
		*err = s.corrupt("", fmt.Errorf("%v", r))
	}
}

const mend = "the file was left as it is; move it aside and restore it from a backup"

// corrupt says that a part of the file, or all of it if part is empty, is damaged.
func (s *Store) corrupt(part string, err error) error {
	place := fmt.Sprintf("store %q", s.path)
	if part != "" {
		place = part + " in " + place
	}
	return &store.CorruptError{Place: place, Mend: mend, Err: err}
}

func translate(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

func openError(path string, err error) error {
	var corrupt *store.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		err = ErrInUse
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return &store.CorruptError{Place: fmt.Sprintf("store %q", path), Mend: mend, Err: err}
	}
	return fmt.Errorf("open store %q: %w", path, err)
}
