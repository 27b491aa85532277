//go:build !linux

package agent

import "testing"

func smallDisk(t *testing.T) string {
	t.Skip("needs Linux")
	return ""
}

func fillDisk(*testing.T, string) {}
