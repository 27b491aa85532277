package fedrpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func digest(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// chunksOf returns a recv that yields b in pieces of n bytes, then io.EOF.
func chunksOf(b []byte, n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(b) == 0 {
			return nil, io.EOF
		}
		c := b[:min(n, len(b))]
		b = b[len(c):]
		return c, nil
	}
}

func TestSendBlob_Chunks(t *testing.T) {
	for _, size := range []int{0, 1, ChunkBytes - 1, ChunkBytes, ChunkBytes + 1, 3*ChunkBytes + 7} {
		blob := content(size)
		var got []byte
		var sent [][]byte
		// A reader that hands out little at a time must not make small chunks.
		err := SendBlob(func(c []byte) error { sent = append(sent, c); return nil }, iotest.HalfReader(bytes.NewReader(blob)))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range sent {
			if len(c) == 0 || len(c) > ChunkBytes || i < len(sent)-1 && len(c) != ChunkBytes {
				t.Fatalf("size %d: chunk %d has %d bytes", size, i, len(c))
			}
			got = append(got, c...) // also shows that chunks kept are not overwritten
		}
		if !bytes.Equal(got, blob) {
			t.Fatalf("size %d: chunks do not add up to the blob", size)
		}
	}
}

func TestSendBlob_Errors(t *testing.T) {
	broken := errors.New("broken")
	drop := func([]byte) error { return nil }
	if err := SendBlob(drop, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Fatalf("reader's error: got %v", err)
	}
	// A source cut short must not look like its end.
	cut := io.MultiReader(bytes.NewReader(content(10)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if err := SendBlob(drop, cut); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("cut source: got %v", err)
	}
	if err := SendBlob(func([]byte) error { return broken }, bytes.NewReader(content(10))); !errors.Is(err, broken) {
		t.Fatalf("send's error: got %v", err)
	}
}

func TestReceiveBlob_Whole(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 2*ChunkBytes + 1} {
		blob := content(size)
		var got bytes.Buffer
		err := ReceiveBlob(chunksOf(blob, 777), digest(blob), uint64(size), 1<<30, &got)
		if err != nil || !bytes.Equal(got.Bytes(), blob) {
			t.Fatalf("size %d: %v, %d bytes", size, err, got.Len())
		}
	}
}

func TestReceiveBlob_Refuses(t *testing.T) {
	blob := content(1000)
	var size *SizeError
	var wrong *DigestError
	var limit *LimitError
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		recv   func() ([]byte, error)
		digest string
		size   uint64
		is     func(error) bool
	}{
		"too short": {chunksOf(blob[:999], 100), digest(blob), 1000, func(err error) bool {
			return errors.As(err, &size) && *size == SizeError{Got: 999, Want: 1000}
		}},
		"too long": {chunksOf(blob, 100), digest(blob[:950]), 950, func(err error) bool {
			return errors.As(err, &size) && *size == SizeError{Got: 1000, Want: 950}
		}},
		"other content": {chunksOf(blob[:500], 100), digest(blob[:499]), 500, func(err error) bool {
			return errors.As(err, &wrong) && wrong.Got == digest(blob[:500]) && wrong.Want == digest(blob[:499])
		}},
		"over the limit": {chunksOf(blob, 100), digest(blob), 1 << 40, func(err error) bool {
			return errors.As(err, &limit) && *limit == LimitError{Size: 1 << 40, Max: 2000}
		}},
		"digest in capitals": {chunksOf(blob, 100), "E3B0" + digest(blob)[4:], 1000, func(err error) bool {
			return errors.As(err, &wrong) && wrong.Want == ""
		}},
		"digest like a path": {chunksOf(blob, 100), "../" + digest(blob)[3:], 1000, func(err error) bool {
			return errors.As(err, &wrong)
		}},
		"receive fails": {func() ([]byte, error) { return nil, broken }, digest(blob), 1000, func(err error) bool {
			return errors.Is(err, broken)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := ReceiveBlob(c.recv, c.digest, c.size, 2000, io.Discard); !c.is(err) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestBlobReader_Resume(t *testing.T) {
	blob := content(5000)
	r, err := NewBlobReader(chunksOf(blob[1234:], 300), digest(blob), 5000, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Held(bytes.NewReader(blob[:1234])); err != nil || r.Offset() != 1234 {
		t.Fatalf("Held: %v, offset %d", err, r.Offset())
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(rest, blob[1234:]) {
		t.Fatalf("rest: %v, %d bytes", err, len(rest))
	}

	// A held part that was damaged shows in the digest.
	r, _ = NewBlobReader(chunksOf(blob[10:], 300), digest(blob), 5000, 5000)
	if err := r.Held(bytes.NewReader(make([]byte, 10))); err != nil {
		t.Fatal(err)
	}
	var wrong *DigestError
	if _, err := io.ReadAll(r); !errors.As(err, &wrong) {
		t.Fatalf("damaged part: got %v", err)
	}

	// A held part longer than the blob is of another blob.
	r, _ = NewBlobReader(chunksOf(nil, 1), digest(blob), 5000, 5000)
	var size *SizeError
	if err := r.Held(bytes.NewReader(content(5001))); !errors.As(err, &size) {
		t.Fatalf("too long a part: got %v", err)
	}
}

func TestBlobReader_Contract(t *testing.T) {
	blob := content(3000)
	r, err := NewBlobReader(chunksOf(blob, 41), digest(blob), 3000, 3000)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, blob); err != nil {
		t.Fatal(err)
	}
}

// Whatever arrives, content is accepted only if it is what the digest names, and
// no more than the announced size is written.
func FuzzReceiveBlob(f *testing.F) {
	f.Add([]byte("hello"), []byte("hello"), uint16(2), uint16(0))
	f.Add([]byte("hello"), []byte("hellO"), uint16(2), uint16(0))
	f.Add([]byte("hello"), []byte("hello, too long"), uint16(7), uint16(3))
	f.Add([]byte{}, []byte{}, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, want, sent []byte, step, held uint16) {
		r, err := NewBlobReader(chunksOf(sent, int(step)+1), digest(want), uint64(len(want)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		part := want[:min(int(held), len(want))]
		if err := r.Held(bytes.NewReader(part)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		whole := append(bytes.Clone(part), got...)
		if len(whole) > len(want) {
			t.Fatalf("%d bytes written of a blob of %d", len(whole), len(want))
		}
		if right := bytes.Equal(append(bytes.Clone(part), sent...), want); right != (err == nil) {
			t.Fatalf("content right: %v, error: %v", right, err)
		}
	})
}
