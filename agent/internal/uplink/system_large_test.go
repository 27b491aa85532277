//go:build system

package uplink

import "testing"

// 256 MB each way, in less than 100 MB beside.
func TestSystem_LargeTransfer(t *testing.T) { transferLarge(t, 256<<20, 100<<20, "process") }
