package durable

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// CorruptError says what is wrong with a database file.
type CorruptError struct {
	Path string
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("database %q is damaged: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// OpenBolt opens the bbolt database at path, at most maxBytes large. Every page is
// read first, because bbolt panics on a damaged one at whatever moment it meets
// it. A damaged file is put aside with Quarantine and a fresh database takes its
// place; quarantined is then its new name. An error means that there is no database
// to be had at present: directory not writable, disk full, file in use.
func OpenBolt(path string, maxBytes int64) (db *bolt.DB, quarantined string, err error) {
	defer PanicOnFault()()
	err = verify(path)
	if err == nil {
		db, err = open(path, maxBytes)
	}
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		quarantined, err = Quarantine(path)
		if err == nil {
			db, err = open(path, maxBytes)
		}
	}
	if err == nil {
		db, err = compact(db, path, maxBytes)
	}
	if err != nil {
		return nil, quarantined, fmt.Errorf("open database %q: %w", path, err)
	}
	return db, quarantined, nil
}

// compact rewrites a database whose file is larger than maxBytes, as after the
// bound was lowered: bbolt files never shrink by themselves.
func compact(db *bolt.DB, path string, maxBytes int64) (*bolt.DB, error) {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= maxBytes {
		return db, err
	}
	temp := path + ".compact"
	defer os.Remove(temp)
	small, err := bolt.Open(temp, 0o600, &bolt.Options{Timeout: time.Second, PageSize: 4096})
	if err == nil {
		err = errors.Join(bolt.Compact(small, db, 1<<20), small.Close())
	}
	if err != nil {
		return db, nil // a file that is too large still serves
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, err
	}
	return open(path, maxBytes)
}

func open(path string, maxBytes int64) (db *bolt.DB, err error) {
	defer Recover(path, &err)
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:  time.Second,
		PageSize: 4096, // portable between all boards
		MaxSize:  int(maxBytes),
	})
	if err != nil {
		return nil, classify(path, err)
	}
	db.AllocSize = 1 << 20
	return db, nil
}

// verify reads every key and value of the database at path.
func verify(path string) (err error) {
	if _, statErr := os.Stat(path); errors.Is(statErr, fs.ErrNotExist) {
		return nil
	}
	defer Recover(path, &err)
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return classify(path, err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		if info, statErr := os.Stat(path); statErr != nil {
			return statErr
		} else if info.Size() < tx.Size() {
			return &CorruptError{Path: path, Err: fmt.Errorf("file has %d bytes, its header says %d", info.Size(), tx.Size())}
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return readBucket(b) })
	})
	return err
}

// readBucket touches every byte, so that a page that cannot be read is met here.
func readBucket(b *bolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return readBucket(b.Bucket(k))
		}
		crc32.ChecksumIEEE(k)
		crc32.ChecksumIEEE(v)
		return nil
	})
}

// classify tells damage from everything that another attempt may mend.
func classify(path string, err error) error {
	var pathErr *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &pathErr) || errors.As(err, &errno) || errors.Is(err, berrors.ErrTimeout) || errors.Is(err, berrors.ErrMaxSizeReached) {
		return err
	}
	return &CorruptError{Path: path, Err: err}
}

// Recover turns a panic of bbolt on a damaged page, or a fault on a page that the
// file no longer has, into a *CorruptError; for use with defer. Whoever calls it
// must have called PanicOnFault in the same goroutine for the second.
func Recover(path string, err *error) {
	if p := recover(); p != nil {
		*err = &CorruptError{Path: path, Err: fmt.Errorf("%v", p)}
	}
}

// PanicOnFault makes an unreadable page of a mapped file a panic in the calling
// goroutine instead of the end of the process. Call the result when done.
func PanicOnFault() (restore func()) {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}
