//go:build unix

package hostbus

import (
	"io/fs"
	"syscall"
)

// groupOf returns the number of the group that owns a file.
func groupOf(info fs.FileInfo) (gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Gid), true
}
