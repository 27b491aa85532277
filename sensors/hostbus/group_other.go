//go:build !unix

package hostbus

import "io/fs"

func groupOf(fs.FileInfo) (gid int, ok bool) { return 0, false }
