package boltstore

import (
	"os"
	"unsafe"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// releaseAround is how far from what was read pages are released: the kernel
// maps the neighbours of a page that is read, up to a large folio of its cache.
const releaseAround = 4 << 20

// release tells the system that the pages of the mapped file around v are not
// needed soon. They stay in its cache and count no longer as this process's
// memory: serving a large model to many would otherwise make all of it resident.
// Whoever else reads there finds them again at once. Only memory depends on it, so it
// cannot fail.
func release(tx *bolt.Tx, v []byte) {
	if len(v) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	base := tx.DB().Info().Data // where the file is mapped; as long as tx, it stays
	at := uintptr(unsafe.Pointer(unsafe.SliceData(v)))
	mapped := uintptr(tx.Size())
	if at < base || at+uintptr(len(v)) > base+mapped {
		return
	}
	from := (at - base) - min(at-base, releaseAround)
	to := min(at-base+uintptr(len(v))+releaseAround, mapped)
	from, to = from/page*page, to/page*page
	begin := unsafe.Add(unsafe.Pointer(unsafe.SliceData(v)), -int(at-base-from))
	_ = unix.Madvise(unsafe.Slice((*byte)(begin), to-from), unix.MADV_DONTNEED)
}
