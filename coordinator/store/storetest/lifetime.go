package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// everyMethod calls each method once and returns the errors by name.
func everyMethod(ctx context.Context, s store.Store, digest string) map[string]error {
	errs := map[string]error{}
	_, errs["Get"] = s.Get(ctx, "k")
	_, errs["List"] = s.List(ctx, "")
	_, errs["Put"] = s.Put(ctx, "new", []byte("x"), 0)
	errs["Delete"] = s.Delete(ctx, "k", 1)
	_, errs["PutBlob"] = s.PutBlob(ctx, bytes.NewReader([]byte("new")))
	_, errs["OpenBlob"] = s.OpenBlob(ctx, digest, 0)
	_, errs["StatBlob"] = s.StatBlob(ctx, digest)
	_, errs["ListBlobs"] = s.ListBlobs(ctx)
	errs["DeleteBlob"] = s.DeleteBlob(ctx, digest)
	return errs
}

func testContextEnded(t *testing.T, subject Subject) {
	s := subject.open(t)
	rev := mustPut(t, s, "k", "v", 0)
	content := Content(10, large)
	b := mustPutBlob(t, s, content)
	cause, cancel := context.WithCancel(context.Background())
	r, err := s.OpenBlob(cause, b.SHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	for name, err := range everyMethod(cause, s, b.SHA256) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v", name, err)
		}
	}
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with an ended context: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close of a reader with an ended context: %v", err)
	}

	// A context that ends amid a blob leaves nothing of it.
	amid, stop := context.WithCancel(context.Background())
	defer stop()
	src := io.MultiReader(bytes.NewReader(Content(11, large)), stopper{stop}, bytes.NewReader(Content(12, large)))
	if _, err := s.PutBlob(amid, src); !errors.Is(err, context.Canceled) {
		t.Errorf("PutBlob with a context that ends: %v", err)
	}
	wantBlobs(t, s, b)
	wantRecord(t, s, "k", "v", rev)
	if _, err := s.Get(context.Background(), "new"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a cancelled Put is there: %v", err)
	}
	wantBlob(t, s, b.SHA256, 0, content)
}

// stopper is a reader that yields nothing but calls f.
type stopper struct{ f func() }

func (s stopper) Read([]byte) (int, error) { s.f(); return 0, io.EOF }

func testClosed(t *testing.T, subject Subject) {
	s := subject.open(t)
	mustPut(t, s, "k", "v", 0)
	b := mustPutBlob(t, s, Content(13, large))
	r, err := s.OpenBlob(context.Background(), b.SHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	doomed, err := s.OpenBlob(context.Background(), b.SHA256, store.BlobChunkBytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlob(context.Background(), b.SHA256); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	for name, err := range everyMethod(context.Background(), s, b.SHA256) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if _, err := io.ReadAll(r); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Read after the store's Close: %v, want ErrClosed", err)
	}
	for _, r := range []io.Closer{r, doomed} {
		if err := r.Close(); err != nil {
			t.Errorf("Close of a reader after the store's: %v", err)
		}
	}
}

func testReopen(t *testing.T, subject Subject) {
	if subject.Reopen == nil {
		t.Skip("this engine forgets")
	}
	s := subject.open(t)
	rev := mustPut(t, s, "a/1", "one", 0)
	gone := mustPut(t, s, "a/2", "two", 0)
	if err := s.Delete(context.Background(), "a/2", gone); err != nil {
		t.Fatal(err)
	}
	content := Content(14, large)
	b := mustPutBlob(t, s, content)
	empty := mustPutBlob(t, s, nil)
	dropped := mustPutBlob(t, s, Content(15, large))
	if err := s.DeleteBlob(context.Background(), dropped.SHA256); err != nil {
		t.Fatal(err)
	}
	s = subject.reopen(t, s)
	wantRecord(t, s, "a/1", "one", rev)
	if _, err := s.Get(context.Background(), "a/2"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a deleted record came back: %v", err)
	}
	if b.SHA256 < empty.SHA256 {
		wantBlobs(t, s, b, empty)
	} else {
		wantBlobs(t, s, empty, b)
	}
	wantBlob(t, s, b.SHA256, 0, content)
	wantBlob(t, s, empty.SHA256, 0, nil)
	mustPut(t, s, "a/1", "uno", rev)
}
