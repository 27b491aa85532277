// Package storetest is the contract of store.Store as tests: every engine runs
// the same suite.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// Subject is an engine under test.
type Subject struct {
	// Open returns a new, empty store. The suite closes it.
	Open func(t *testing.T) store.Store
	// Reopen closes s and opens what it left; nil if nothing outlives Close.
	Reopen func(t *testing.T, s store.Store) store.Store
	// Damage changes the stored byte of a blob at offset behind the store's back
	// and returns the store, reopened if need be; nil if that is not possible.
	Damage func(t *testing.T, s store.Store, content []byte, offset int) store.Store
}

// Run runs the suite.
func Run(t *testing.T, subject Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"Put_CompareAndSet":       testCompareAndSet,
		"Put_Limits":              testLimits,
		"Put_Keys":                testKeys,
		"Put_Copies":              testCopies,
		"Put_ConcurrentOneWins":   testConcurrentOneWins,
		"Put_ConcurrentCounter":   testConcurrentCounter,
		"Delete_CompareAndSet":    testDelete,
		"Revisions_NeverRepeat":   testRevisions,
		"List_OrderAndPrefix":     testList,
		"Records_AgainstModel":    testModel,
		"Blob_RoundTrip":          testBlobRoundTrip,
		"Blob_Offsets":            testBlobOffsets,
		"Blob_SameContentOnce":    testBlobOnce,
		"Blob_ConcurrentSame":     testBlobConcurrent,
		"Blob_List":               testBlobList,
		"Blob_NotThere":           testBlobNotThere,
		"Blob_ReaderOutlivesBlob": testReaderOutlivesBlob,
		"Blob_WriteWhileReading":  testWriteWhileReading,
		"Blob_FailingContent":     testFailingContent,
		"Blob_Damaged":            testDamaged,
		"Context_Ended":           testContextEnded,
		"Close_Everything":        testClosed,
		"Reopen_Everything":       testReopen,
	} {
		t.Run(name, func(t *testing.T) { test(t, subject) })
	}
}

// open returns a store that is closed when the test ends.
func (subject Subject) open(t *testing.T) store.Store {
	t.Helper()
	s := subject.Open(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// reopen is Reopen, or nothing where nothing outlives Close.
func (subject Subject) reopen(t *testing.T, s store.Store) store.Store {
	t.Helper()
	if subject.Reopen == nil {
		return s
	}
	s = subject.Reopen(t, s)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Content returns n bytes that look random and are the same for the same seed.
func Content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func mustPut(t *testing.T, s store.Store, key, value string, revision uint64) uint64 {
	t.Helper()
	next, err := s.Put(context.Background(), key, []byte(value), revision)
	if err != nil {
		t.Fatalf("Put(%q, revision %d): %v", key, revision, err)
	}
	if next == 0 {
		t.Fatalf("Put(%q) returned revision 0", key)
	}
	return next
}

func wantRecord(t *testing.T, s store.Store, key, value string, revision uint64) {
	t.Helper()
	r, err := s.Get(context.Background(), key)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	if r.Key != key || string(r.Value) != value || r.Revision != revision {
		t.Fatalf("Get(%q) = %q %q at %d, want %q at %d", key, r.Key, r.Value, r.Revision, value, revision)
	}
}

func wantConflict(t *testing.T, err error, key string, got, want uint64) {
	t.Helper()
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("error is %v, want a ConflictError", err)
	}
	if *conflict != (store.ConflictError{Key: key, Got: got, Want: want}) {
		t.Fatalf("conflict is %+v, want key %q, got %d, want %d", *conflict, key, got, want)
	}
}

func mustPutBlob(t *testing.T, s store.Store, content []byte) store.Blob {
	t.Helper()
	b, err := s.PutBlob(context.Background(), bytes.NewReader(content))
	if err != nil {
		t.Fatalf("PutBlob(%d bytes): %v", len(content), err)
	}
	if want := (store.Blob{SHA256: digestOf(content), Size: uint64(len(content))}); b != want {
		t.Fatalf("PutBlob(%d bytes) = %+v, want %+v", len(content), b, want)
	}
	return b
}

func wantBlob(t *testing.T, s store.Store, digest string, offset uint64, want []byte) {
	t.Helper()
	r, err := s.OpenBlob(context.Background(), digest, offset)
	if err != nil {
		t.Fatalf("OpenBlob(%s, %d): %v", digest, offset, err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read blob %s from %d: %v", digest, offset, err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("close reader of blob %s: %v", digest, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("blob %s from %d has %d bytes, want %d, or other content", digest, offset, len(got), len(want))
	}
}

func wantBlobs(t *testing.T, s store.Store, want ...store.Blob) {
	t.Helper()
	got, err := s.ListBlobs(context.Background())
	if err != nil {
		t.Fatalf("ListBlobs: %v", err)
	}
	if len(got) != len(want) {
		t.Fatalf("ListBlobs = %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("ListBlobs[%d] = %+v, want %+v", i, got[i], want[i])
		}
	}
}
