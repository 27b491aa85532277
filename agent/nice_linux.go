package agent

import "golang.org/x/sys/unix"

// lowerPriority makes the calling thread yield to all others of the box. On Linux
// the nice value belongs to the thread; 0 names the calling one.
func lowerPriority() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 10) }
