package boltstore

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// release tells the system that the pages of the mapped file are not needed soon.
// They stay in its cache and count no longer as this process's memory: serving a
// large model to many, or reading thousands of updates, would otherwise make all of
// the file resident. Whoever reads there again finds them at once. Only memory depends
// on it, so it cannot fail.
func release(tx *bolt.Tx) {
	// The transaction keeps the file mapped where it is.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, tx.DB().Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
}
