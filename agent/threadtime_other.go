//go:build !linux

package agent

import "time"

// threadTime says that the system does not tell.
func threadTime() (used time.Duration, known bool) { return 0, false }
