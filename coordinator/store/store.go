// Package store is the contract under which a coordinator remembers: small
// records changed by compare-and-set, and immutable blobs named by their content.
// storetest is the suite every implementation passes.
package store

import (
	"context"
	"io"
)

// Store keeps records and blobs. All methods are safe for concurrent use. A
// method that changes something returns nil only when the change would survive
// a power cut; with the context's error it changed nothing. After Close every
// method, and every reader still open, fails with ErrClosed.
type Store interface {
	// Get returns the record at key, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)
	// List returns the records whose key starts with prefix, sorted by key.
	List(ctx context.Context, prefix string) ([]Record, error)
	// Put writes value at key if the record's revision still is revision, where
	// 0 means it must not exist, and returns the new revision, which is never 0
	// and never repeats for the key, not even after Delete. Otherwise it is a
	// *ConflictError, or a *SizeError, or a *KeyError. value is copied.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes the record at key if its revision still is revision, else
	// it is a *ConflictError (an absent record is at revision 0).
	Delete(ctx context.Context, key string, revision uint64) error

	// PutBlob stores everything r yields. Storing the same content twice is one
	// blob. An error from r is returned wrapped and leaves nothing behind.
	PutBlob(ctx context.Context, r io.Reader) (Blob, error)
	// OpenBlob reads a blob from offset on, or returns ErrNotFound, or an
	// *OffsetError if offset is beyond the end. The reader stays valid until
	// closed, even when the blob is deleted meanwhile, and its reads fail when ctx
	// ends. It checks what it yields: damaged content is a *CorruptError in place
	// of the damaged bytes, and io.EOF after reading from offset 0 means that the
	// content was that of the digest. A reader is for one goroutine.
	OpenBlob(ctx context.Context, sha256 string, offset uint64) (io.ReadCloser, error)
	// StatBlob returns a blob's size, or ErrNotFound.
	StatBlob(ctx context.Context, sha256 string) (Blob, error)
	// ListBlobs returns every blob, sorted by digest.
	ListBlobs(ctx context.Context) ([]Blob, error)
	// DeleteBlob removes a blob; deleting one that is not there is no error.
	DeleteBlob(ctx context.Context, sha256 string) error

	// Close waits for changes under way. Closing twice is no error.
	Close() error
}

// Record is a small value with the revision that a change must name.
type Record struct {
	Key      string // path-like, e.g. "job/pump/head"
	Value    []byte // at most MaxRecordBytes; owned by the caller
	Revision uint64
}

// Blob names an immutable run of bytes.
type Blob struct {
	SHA256 string // lower-case hex
	Size   uint64
}

// Limits every implementation keeps.
const (
	MaxKeyBytes    = 255
	MaxRecordBytes = 1 << 20
	BlobChunkBytes = 512 << 10 // blobs are stored in pieces of this size
)
