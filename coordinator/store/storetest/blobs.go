package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// large is several chunks and a rest, and more than an engine may want to keep
// in memory at once.
const large = 9*store.BlobChunkBytes + 12345

func testBlobRoundTrip(t *testing.T, subject Subject) {
	s := subject.open(t)
	const chunk = store.BlobChunkBytes
	for _, n := range []int{0, 1, 4096, chunk - 1, chunk, chunk + 1, 4 * chunk, 4*chunk + 1, 8 * chunk, large} {
		content := Content(uint64(n), n)
		b := mustPutBlob(t, s, content)
		wantBlob(t, s, b.SHA256, 0, content)
		got, err := s.StatBlob(context.Background(), b.SHA256)
		if err != nil || got != b {
			t.Fatalf("StatBlob = %+v, %v; want %+v", got, err, b)
		}
	}
	// A source that yields a byte at a time is no different.
	content := Content(99, 3000)
	b, err := s.PutBlob(context.Background(), oneByte{bytes.NewReader(content)})
	if err != nil || b.SHA256 != digestOf(content) {
		t.Fatalf("PutBlob of a slow source = %+v, %v", b, err)
	}
	wantBlob(t, s, b.SHA256, 0, content)
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func testBlobOffsets(t *testing.T, subject Subject) {
	s := subject.open(t)
	content := Content(2, large)
	b := mustPutBlob(t, s, content)
	const chunk = store.BlobChunkBytes
	for _, offset := range []int{1, chunk - 1, chunk, chunk + 1, 4 * chunk, 5*chunk - 7, large - 1, large} {
		wantBlob(t, s, b.SHA256, uint64(offset), content[offset:])
	}
	for _, offset := range []uint64{large + 1, 1 << 63} {
		_, err := s.OpenBlob(context.Background(), b.SHA256, offset)
		var beyond *store.OffsetError
		if !errors.As(err, &beyond) || *beyond != (store.OffsetError{SHA256: b.SHA256, Offset: offset, Size: large}) {
			t.Fatalf("OpenBlob beyond the end: %v, want an OffsetError", err)
		}
	}
}

func testBlobOnce(t *testing.T, subject Subject) {
	s := subject.open(t)
	small, big := Content(3, 100), Content(4, large)
	var want []store.Blob
	for _, content := range [][]byte{small, big} {
		first := mustPutBlob(t, s, content)
		if again := mustPutBlob(t, s, content); again != first {
			t.Fatalf("the same content became %+v and %+v", first, again)
		}
		want = append(want, first)
	}
	slices.SortFunc(want, func(a, b store.Blob) int { return strings.Compare(a.SHA256, b.SHA256) })
	wantBlobs(t, s, want...)
	// One deletion suffices, and what was stored again is whole.
	if err := s.DeleteBlob(context.Background(), digestOf(big)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.StatBlob(context.Background(), digestOf(big)); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("StatBlob after DeleteBlob: %v, want ErrNotFound", err)
	}
	mustPutBlob(t, s, big)
	wantBlob(t, s, digestOf(big), 0, big)
}

func testBlobConcurrent(t *testing.T, subject Subject) {
	s := subject.open(t)
	content := Content(5, 5*store.BlobChunkBytes+1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b, err := s.PutBlob(context.Background(), bytes.NewReader(content))
			if err != nil || b.SHA256 != digestOf(content) {
				t.Errorf("PutBlob = %+v, %v", b, err)
			}
		})
	}
	wg.Wait()
	wantBlobs(t, s, store.Blob{SHA256: digestOf(content), Size: uint64(len(content))})
	wantBlob(t, s, digestOf(content), 0, content)
}

func testBlobList(t *testing.T, subject Subject) {
	s := subject.open(t)
	wantBlobs(t, s)
	var want []store.Blob
	for i := range 20 {
		want = append(want, mustPutBlob(t, s, Content(uint64(i), 10*i)))
	}
	slices.SortFunc(want, func(a, b store.Blob) int { return strings.Compare(a.SHA256, b.SHA256) })
	wantBlobs(t, s, want...)
	if err := s.DeleteBlob(context.Background(), want[7].SHA256); err != nil {
		t.Fatal(err)
	}
	wantBlobs(t, s, slices.Delete(want, 7, 8)...)
}

func testBlobNotThere(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	b := mustPutBlob(t, s, []byte("there"))
	for _, digest := range []string{digestOf([]byte("not there")), "", "zz", b.SHA256[:62], strings.ToUpper(b.SHA256), b.SHA256 + "00"} {
		if _, err := s.OpenBlob(ctx, digest, 0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("OpenBlob(%q): %v, want ErrNotFound", digest, err)
		}
		if _, err := s.StatBlob(ctx, digest); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("StatBlob(%q): %v, want ErrNotFound", digest, err)
		}
		if err := s.DeleteBlob(ctx, digest); err != nil {
			t.Errorf("DeleteBlob(%q): %v", digest, err)
		}
	}
	wantBlob(t, s, b.SHA256, 0, []byte("there"))
}

func testReaderOutlivesBlob(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	content := Content(6, large)
	b := mustPutBlob(t, s, content)
	var readers []io.ReadCloser
	for range 2 {
		r, err := s.OpenBlob(ctx, b.SHA256, 0)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	begin := make([]byte, 1000)
	if _, err := io.ReadFull(readers[0], begin); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlob(ctx, b.SHA256); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenBlob(ctx, b.SHA256, 0); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("OpenBlob after DeleteBlob: %v, want ErrNotFound", err)
	}
	mustPutBlob(t, s, content) // and stored anew: another blob, for all the readers know
	for i, r := range readers {
		rest, err := io.ReadAll(r)
		if i == 0 {
			rest = append(begin, rest...)
		}
		if err != nil || !bytes.Equal(rest, content) {
			t.Fatalf("reader %d of a deleted blob: %d bytes, %v", i, len(rest), err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(begin); err == nil || err == io.EOF {
			t.Fatalf("Read after Close: %v, want an error", err)
		}
		if err := r.Close(); err != nil {
			t.Fatalf("second Close: %v", err)
		}
	}
	wantBlob(t, s, b.SHA256, 0, content)
}

// testWriteWhileReading: a reader held open must not keep its own goroutine from
// writing, however much.
func testWriteWhileReading(t *testing.T, subject Subject) {
	s := subject.open(t)
	content := Content(7, 2*store.BlobChunkBytes)
	b := mustPutBlob(t, s, content)
	r, err := s.OpenBlob(context.Background(), b.SHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var got []byte
	for i := range 4 {
		part := make([]byte, len(content)/4)
		if _, err := io.ReadFull(r, part); err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
		mustPutBlob(t, s, Content(uint64(100+i), large))
		mustPut(t, s, "k"+string(rune('0'+i)), "v", 0)
	}
	if !bytes.Equal(got, content) {
		t.Fatal("the reader yielded other content")
	}
}

func testFailingContent(t *testing.T, subject Subject) {
	s := subject.open(t)
	for _, broken := range []error{errors.New("line broke"), io.ErrUnexpectedEOF, fmt.Errorf("peer left: %w", io.EOF)} {
		for _, n := range []int{0, 100, large} {
			_, err := s.PutBlob(context.Background(), io.MultiReader(bytes.NewReader(Content(8, n)), failing{broken}))
			if !errors.Is(err, broken) {
				t.Fatalf("PutBlob of content that fails with %q after %d bytes: %v", broken, n, err)
			}
			wantBlobs(t, s)
		}
	}
	mustPutBlob(t, s, Content(8, large))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func testDamaged(t *testing.T, subject Subject) {
	if subject.Damage == nil {
		t.Skip("this engine's blobs cannot be damaged behind its back")
	}
	s := subject.open(t)
	content := Content(9, large)
	sound := mustPutBlob(t, s, []byte("sound"))
	b := mustPutBlob(t, s, content)
	at := 3*store.BlobChunkBytes + 77
	s = subject.Damage(t, s, content, at)
	t.Cleanup(func() { _ = s.Close() })
	for _, offset := range []int{0, store.BlobChunkBytes, at + 1} {
		r, err := s.OpenBlob(context.Background(), b.SHA256, uint64(offset))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		var corrupt *store.CorruptError
		if !errors.As(err, &corrupt) || !strings.Contains(corrupt.Place, b.SHA256) || corrupt.Mend == "" {
			t.Fatalf("read damaged blob from %d: %v, want a CorruptError naming the blob and a mend", offset, err)
		}
		if !bytes.HasPrefix(content[offset:], got) {
			t.Fatalf("read damaged blob from %d: damaged bytes were handed out", offset)
		}
		if _, again := r.Read(make([]byte, 1)); !errors.As(again, &corrupt) {
			t.Fatalf("second read: %v, want the CorruptError again", again)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What is not damaged is still there.
	wantBlob(t, s, b.SHA256, uint64(5*store.BlobChunkBytes), content[5*store.BlobChunkBytes:])
	wantBlob(t, s, sound.SHA256, 0, []byte("sound"))
}
