//go:build !linux

package agent

import "time"

// lowerPriority does nothing where a thread has no priority of its own.
func lowerPriority() {}

// threadTime says that the system does not tell.
func threadTime() (used time.Duration, known bool) { return 0, false }
