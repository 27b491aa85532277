package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
	"time"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// inspect checks the structure of the file before bbolt maps it, because bbolt
// trusts its pages: it panics on a damaged one, in a goroutine of its own while
// it opens, and dies of a memory fault where a file was cut short.
func inspect(path string, lockTimeout time.Duration) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	// A shared lock, as bbolt's readers take, keeps the file still.
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
		if time.Now().After(deadline) {
			return berrors.ErrTimeout
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := verify(f, info.Size()); err != nil {
		return &store.CorruptError{Place: fmt.Sprintf("store %q", path), Mend: mend, Err: err}
	}
	return nil
}

// The file format of bbolt, version 2 (internal/common in its source): numbers
// are in the machine's byte order; a page has a header of 16 bytes (id 8, flags
// 2, count 2, overflow 4) and that many elements of 16 bytes.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	headerBytes  = 16
	elementBytes = 16
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketLeaf   = 0x01 // flag of a leaf element
	noFreelist   = ^uint64(0)
	maxKeyBytes  = 32768
	minPageSize  = 1 << 10
	maxPageSize  = 1 << 16
	metaRoot     = 16 // offsets in a meta page's body
	metaFreelist = 32
	metaPages    = 40
	metaSum      = 56
)

var ne = binary.NativeEndian

// verify walks every page reachable from the newest root and returns the first
// thing that bbolt would stumble over. Keys are read, values are not: those
// have checksums of their own. It panics on no input.
func verify(r io.ReaderAt, size int64) error {
	root, free, pages, pageSize, err := readMeta(r, size)
	if err != nil {
		return err
	}
	if need := pages * pageSize; pages > uint64(size)/pageSize {
		return fmt.Errorf("it has %d bytes where at least %d are in use: it was cut short", size, need)
	}
	w := walker{r: r, pageSize: pageSize, pages: pages, seen: make([]uint64, (pages+63)/64)}
	if free != noFreelist {
		h, err := w.header(free)
		if err == nil && h.flags != freelistPage {
			err = fmt.Errorf("page %d has flags %#x where the free list should be", free, h.flags)
		}
		if err != nil {
			return err
		}
	}
	w.todo = []subtree{{page: root}}
	for len(w.todo) > 0 {
		next := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if err := w.visit(next); err != nil {
			return err
		}
	}
	return nil
}

// readMeta returns what the newer sound one of the two meta pages says.
func readMeta(r io.ReaderAt, size int64) (root, free, pages, pageSize uint64, err error) {
	if size == 0 {
		return 0, 0, 0, 0, errors.New("it is empty")
	}
	var newest uint64
	found := false
	try := func(offset int64) uint64 {
		b := make([]byte, headerBytes+metaSum+8)
		if offset+int64(len(b)) > size {
			return 0
		}
		if _, err := r.ReadAt(b, offset); err != nil {
			return 0
		}
		m := b[headerBytes:]
		h := fnv.New64a()
		h.Write(m[:metaSum])
		ps := uint64(ne.Uint32(m[8:]))
		if ne.Uint32(m) != boltMagic || ne.Uint32(m[4:]) != boltVersion || ne.Uint64(m[metaSum:]) != h.Sum64() ||
			ps < minPageSize || ps > maxPageSize || ps&(ps-1) != 0 {
			return 0
		}
		if txid := ne.Uint64(m[48:]); !found || txid > newest {
			found, newest = true, txid
			root, free, pages, pageSize = ne.Uint64(m[metaRoot:]), ne.Uint64(m[metaFreelist:]), ne.Uint64(m[metaPages:]), ps
		}
		return ps
	}
	if ps := try(0); ps != 0 {
		try(int64(ps))
	} else {
		for ps := int64(minPageSize); ps <= maxPageSize && try(ps) == 0; ps <<= 1 {
		}
	}
	if !found {
		return 0, 0, 0, 0, errors.New("it does not begin like a bbolt file")
	}
	return root, free, pages, pageSize, nil
}

// subtree is a page still to visit, with the bounds its keys must keep: not
// below low, and below high unless that is nil.
type subtree struct {
	page      uint64
	low, high []byte
}

type walker struct {
	r               io.ReaderAt
	pageSize, pages uint64
	seen            []uint64 // a bit a page
	todo            []subtree
}

type header struct {
	flags, count uint16
	bytes        uint64 // with overflow pages
}

// header reads and checks a page's header and marks its pages as seen.
func (w *walker) header(page uint64) (header, error) {
	if page < 2 || page >= w.pages {
		return header{}, fmt.Errorf("page %d is referred to, but only 2 to %d are in use", page, w.pages-1)
	}
	var b [headerBytes]byte
	if _, err := w.r.ReadAt(b[:], int64(page*w.pageSize)); err != nil {
		return header{}, fmt.Errorf("read page %d: %w", page, err)
	}
	if id := ne.Uint64(b[:]); id != page {
		return header{}, fmt.Errorf("page %d calls itself %d", page, id)
	}
	n := uint64(ne.Uint32(b[12:])) + 1
	if n > w.pages-page {
		return header{}, fmt.Errorf("page %d is %d pages long, beyond the end", page, n)
	}
	for p := page; p < page+n; p++ {
		if w.seen[p/64]&(1<<(p%64)) != 0 {
			return header{}, fmt.Errorf("page %d is used twice", p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	return header{flags: ne.Uint16(b[8:]), count: ne.Uint16(b[10:]), bytes: n * w.pageSize}, nil
}

// visit checks one page and queues what it refers to.
func (w *walker) visit(t subtree) error {
	h, err := w.header(t.page)
	if err != nil {
		return err
	}
	if h.flags != branchPage && h.flags != leafPage {
		return fmt.Errorf("page %d has flags %#x, it is neither branch nor leaf", t.page, h.flags)
	}
	if h.flags == branchPage && h.count == 0 {
		return fmt.Errorf("page %d is a branch without children", t.page)
	}
	run := io.NewSectionReader(w.r, int64(t.page*w.pageSize), int64(h.bytes))
	es, err := w.elements(run, h.count, h.flags == leafPage, w.bucket)
	if err != nil {
		return fmt.Errorf("page %d: %w", t.page, err)
	}
	for i, e := range es {
		if i == 0 && bytes.Compare(e.key, t.low) < 0 || t.high != nil && bytes.Compare(e.key, t.high) >= 0 {
			return fmt.Errorf("page %d: key %d does not belong here", t.page, i)
		}
		switch {
		case h.flags == branchPage:
			child := subtree{page: e.child, low: e.key, high: t.high}
			if i+1 < len(es) {
				child.high = es[i+1].key
			}
			w.todo = append(w.todo, child)
		case e.child != 0:
			w.todo = append(w.todo, subtree{page: e.child})
		}
	}
	return nil
}

type element struct {
	key   []byte
	child uint64 // of a branch, or the root of a bucket that has pages of its own
}

// elements reads the elements of the page that run holds. Keys must ascend.
// bucket looks at the value of each bucket and returns its root page.
func (w *walker) elements(run *io.SectionReader, count uint16, leaf bool, bucket func(*io.SectionReader) (uint64, error)) ([]element, error) {
	if headerBytes+int64(count)*elementBytes > run.Size() {
		return nil, fmt.Errorf("%d elements do not fit", count)
	}
	table := make([]byte, int(count)*elementBytes)
	if _, err := run.ReadAt(table, headerBytes); err != nil && len(table) > 0 {
		return nil, err
	}
	es := make([]element, count)
	for i := range es {
		b := table[i*elementBytes:]
		at := int64(headerBytes + i*elementBytes)
		var flags, pos, keyBytes, valueBytes uint32
		if leaf {
			flags, pos, keyBytes, valueBytes = ne.Uint32(b), ne.Uint32(b[4:]), ne.Uint32(b[8:]), ne.Uint32(b[12:])
		} else {
			pos, keyBytes, es[i].child = ne.Uint32(b), ne.Uint32(b[4:]), ne.Uint64(b[8:])
		}
		keyAt := at + int64(pos)
		if keyBytes > maxKeyBytes || keyAt+int64(keyBytes)+int64(valueBytes) > run.Size() {
			return nil, fmt.Errorf("element %d lies outside of it", i)
		}
		es[i].key = make([]byte, keyBytes)
		if _, err := run.ReadAt(es[i].key, keyAt); err != nil && keyBytes > 0 {
			return nil, err
		}
		if i > 0 && bytes.Compare(es[i-1].key, es[i].key) >= 0 {
			return nil, fmt.Errorf("keys %d and %d are out of order", i-1, i)
		}
		switch flags {
		case 0:
		case bucketLeaf:
			var err error
			if es[i].child, err = bucket(io.NewSectionReader(run, keyAt+int64(keyBytes), int64(valueBytes))); err != nil {
				return nil, fmt.Errorf("bucket %d: %w", i, err)
			}
		default:
			return nil, fmt.Errorf("element %d has flags %#x", i, flags)
		}
	}
	return es, nil
}

// bucket returns the root page of a bucket, or 0 for one that is inline, which
// it checks.
func (w *walker) bucket(value *io.SectionReader) (uint64, error) {
	var b [16 + headerBytes]byte
	n, err := value.ReadAt(b[:], 0)
	if n < 16 {
		return 0, fmt.Errorf("it has %d bytes", n)
	}
	if root := ne.Uint64(b[:]); root != 0 {
		return root, nil
	}
	if err != nil && n < len(b) {
		return 0, fmt.Errorf("it has %d bytes", n)
	}
	if flags := ne.Uint16(b[16+8:]); flags != leafPage {
		return 0, fmt.Errorf("its inline page has flags %#x", flags)
	}
	_, err = w.elements(io.NewSectionReader(value, 16, value.Size()-16), ne.Uint16(b[16+10:]), true,
		func(*io.SectionReader) (uint64, error) { // bbolt never makes one
			return 0, errors.New("it is inside an inline bucket")
		})
	return 0, err
}
