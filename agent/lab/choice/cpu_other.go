//go:build !unix

package choice

import "time"

// CPUTime is how much processor time this process has used so far, which cannot be
// told here: 0.
func CPUTime() time.Duration { return 0 }
