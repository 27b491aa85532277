package lab

import (
	"os"
	"path/filepath"
)

// DataDir returns the folder with recorded data: $MILLWRIGHT_DATA, or the first
// shared/data beside one of the parents of the working directory; ok is false
// when there is none.
func DataDir() (dir string, ok bool) {
	if dir := os.Getenv("MILLWRIGHT_DATA"); dir != "" {
		return dir, true
	}
	at, err := os.Getwd()
	for err == nil {
		dir = filepath.Join(at, "shared", "data")
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return dir, true
		}
		parent := filepath.Dir(at)
		if parent == at {
			break
		}
		at = parent
	}
	return "", false
}
