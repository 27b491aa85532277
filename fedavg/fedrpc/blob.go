package fedrpc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ChunkBytes is the most data one chunk of a blob carries. A message of it fits a
// buffer of 32 KiB; the next size gRPC keeps is 1 MiB, which a coordinator that
// serves thousands would have to find for each. At 1 Mbit/s a chunk takes a quarter
// of a second, so the session's messages between chunks stay prompt.
const ChunkBytes = 32<<10 - 512

// SendBlob sends everything r yields in chunks of at most ChunkBytes. send may
// keep the slice. Of an empty r nothing is sent. Memory is one chunk; errors of r
// and send are returned as they are.
func SendBlob(send func([]byte) error, r io.Reader) error {
	for {
		chunk := make([]byte, ChunkBytes) // new each time: the receiver of send may still hold the last
		n, err := 0, error(nil)
		for n < len(chunk) && err == nil {
			var m int
			m, err = r.Read(chunk[n:])
			n += m
		}
		if err != nil && err != io.EOF { //nolint:errorlint // a reader that ends well says io.EOF itself
			return err
		}
		if n > 0 {
			if err := send(chunk[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil //nolint:nilerr // io.EOF
		}
	}
}

// ReceiveBlob writes the chunks that recv returns until io.EOF to w, and checks
// them as [NewBlobReader] says. What w holds after an error must not be used,
// except to resume after a *SizeError or an error of recv.
func ReceiveBlob(recv func() ([]byte, error), wantSHA256 string, wantSize, maxSize uint64, w io.Writer) error {
	r, err := NewBlobReader(recv, wantSHA256, wantSize, maxSize)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

// BlobReader reads a blob from its chunks and yields io.EOF only when size and
// digest are right, so a consumer that keeps nothing after an error (such as
// store.PutBlob) keeps nothing wrong. It holds one chunk.
type BlobReader struct {
	recv   func() ([]byte, error)
	want   [sha256.Size]byte
	size   uint64
	offset uint64 // bytes hashed so far
	hash   hash.Hash
	chunk  []byte
	err    error
}

// NewBlobReader reads from recv, which returns chunks until io.EOF. wantSHA256 is
// lower-case hex (else *DigestError), wantSize at most maxSize (else *LimitError).
func NewBlobReader(recv func() ([]byte, error), wantSHA256 string, wantSize, maxSize uint64) (*BlobReader, error) {
	r := &BlobReader{recv: recv, size: wantSize, hash: sha256.New()}
	want, err := ParseDigest(wantSHA256)
	if err != nil {
		return nil, err
	}
	r.want = want
	if wantSize > maxSize {
		return nil, &LimitError{Size: wantSize, Max: maxSize}
	}
	return r, nil
}

// Held takes in what an earlier attempt left of the blob, which Read will not
// yield again. Call it before Read and ask the sender for Offset and beyond.
func (r *BlobReader) Held(part io.Reader) error {
	n, err := io.Copy(r.hash, io.LimitReader(part, int64(min(r.size-r.offset, 1<<62))+1))
	r.offset += uint64(n)
	if err != nil {
		return fmt.Errorf("read the part of blob %x… already held: %w", r.want[:6], err)
	}
	if r.offset > r.size {
		return &SizeError{Got: r.offset, Want: r.size}
	}
	return nil
}

// Offset is how many bytes of the blob were taken in.
func (r *BlobReader) Offset() uint64 { return r.offset }

// Read implements io.Reader. A blob that ends too early or goes on too long is a
// *SizeError, wrong content a *DigestError; recv's errors are returned as they are.
func (r *BlobReader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// fill takes the next chunk, or the reason why there is none.
func (r *BlobReader) fill() {
	chunk, err := r.recv()
	switch {
	case errors.Is(err, io.EOF) && r.offset < r.size:
		r.err = &SizeError{Got: r.offset, Want: r.size}
	case errors.Is(err, io.EOF):
		var got [sha256.Size]byte
		if r.hash.Sum(got[:0]); got != r.want {
			r.err = &DigestError{Got: hex.EncodeToString(got[:]), Want: hex.EncodeToString(r.want[:])}
		} else {
			r.err = io.EOF
		}
	case err != nil:
		r.err = err
	case uint64(len(chunk)) > r.size-r.offset:
		r.err = &SizeError{Got: r.offset + uint64(len(chunk)), Want: r.size}
	default:
		r.hash.Write(chunk)
		r.offset += uint64(len(chunk))
		r.chunk = chunk
	}
}

// ParseDigest reads a SHA-256 in lower-case hex; anything else is a *DigestError.
// A digest that parses is safe as a file name.
func ParseDigest(text string) (d [sha256.Size]byte, err error) {
	if len(text) == 2*sha256.Size {
		if _, err := hex.Decode(d[:], []byte(text)); err == nil && hex.EncodeToString(d[:]) == text {
			return d, nil
		}
	}
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return d, &DigestError{Got: text}
}

// DigestError says that content is not what its digest promised or, with Want
// empty, that Got is no SHA-256 in lower-case hex.
type DigestError struct{ Got, Want string }

func (e *DigestError) Error() string {
	if e.Want == "" {
		return fmt.Sprintf("blob digest %q is not a SHA-256 in lower-case hex", e.Got)
	}
	return fmt.Sprintf("blob has digest %s, not %s: it was damaged on the way", e.Got, e.Want)
}

// SizeError says that a blob is shorter or longer than announced.
type SizeError struct{ Got, Want uint64 }

func (e *SizeError) Error() string {
	if e.Got > e.Want {
		return fmt.Sprintf("blob is longer than announced: at least %d bytes, not %d", e.Got, e.Want)
	}
	return fmt.Sprintf("blob ended after %d of %d bytes", e.Got, e.Want)
}

// LimitError says that a blob is larger than this side takes.
type LimitError struct{ Size, Max uint64 }

func (e *LimitError) Error() string {
	return fmt.Sprintf("blob of %d bytes is larger than the limit of %d bytes", e.Size, e.Max)
}
