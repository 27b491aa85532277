package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// lowerPriority makes the calling thread yield to all others of the box. On Linux
// the nice value belongs to the thread; 0 names the calling one.
func lowerPriority() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 10) }

// threadTime is the processor time that the calling thread has used.
func threadTime() (used time.Duration, known bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
