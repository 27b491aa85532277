package store

import (
	"errors"
	"fmt"
)

// Errors on which callers branch.
var (
	// ErrNotFound says that there is no such record or blob.
	ErrNotFound = errors.New("not found in store")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)

// ConflictError says that a record changed since it was read.
type ConflictError struct {
	Key       string
	Got, Want uint64 // revision in the store, revision named by the caller
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("record %q is at revision %d, not %d: it changed meanwhile", e.Key, e.Got, e.Want)
}

// SizeError says that a record is larger than MaxRecordBytes.
type SizeError struct {
	Key      string
	Got, Max int // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("record %q has %d bytes, at most %d are allowed: store it as a blob", e.Key, e.Got, e.Max)
}

// OffsetError says that a blob was to be read from beyond its end.
type OffsetError struct {
	SHA256       string
	Offset, Size uint64 // bytes
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("read blob %s from offset %d: it ends at %d", e.SHA256, e.Offset, e.Size)
}

// CorruptError says that what is stored is not what was written. The rest of
// the store may be sound.
type CorruptError struct {
	Place string // what is damaged, e.g. a file and a blob in it
	Mend  string // what a person can do
	Err   error  // what was found; may be nil
}

func (e *CorruptError) Error() string {
	s := e.Place + " is damaged"
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Mend != "" {
		s += " (" + e.Mend + ")"
	}
	return s
}

func (e *CorruptError) Unwrap() error { return e.Err }

// KeyError says that a text cannot be the key of a record.
type KeyError struct {
	Key    string
	Reason string
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("record key %q is not allowed: %s", e.Key, e.Reason)
}

// CheckKey returns a *KeyError unless key is 1 to MaxKeyBytes of letters,
// digits, '-', '_', '=', '.' and '/', and neither begins nor ends with '.' or
// '/'. That is what every engine we build on can hold, so callers encode
// anything else.
func CheckKey(key string) error {
	if key == "" {
		return &KeyError{key, "it is empty"}
	}
	if len(key) > MaxKeyBytes {
		return &KeyError{key[:32] + "…", fmt.Sprintf("it has %d bytes, at most %d are allowed", len(key), MaxKeyBytes)}
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '=':
		case c == '.' || c == '/':
			if i == 0 || i == len(key)-1 {
				return &KeyError{key, fmt.Sprintf("it begins or ends with %q", c)}
			}
		default:
			return &KeyError{key, fmt.Sprintf("byte %d is %q", i, c)}
		}
	}
	return nil
}
