package agent

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the processor time of all threads, garbage collection included.
func processTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
