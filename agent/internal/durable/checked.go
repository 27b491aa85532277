package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
)

// ErrDamaged says that a file is not what was written.
var ErrDamaged = errors.New("file is damaged")

// WriteChecked is WriteFile with a checksum as the first line, and keeps the
// content before as <path>.previous, provided it was whole.
func WriteChecked(path string, body []byte) error {
	if _, err := readChecked(path); err == nil {
		// A link keeps the name in place until the new file takes it over.
		_ = os.Remove(path + ".previous")
		_ = os.Link(path, path+".previous")
	}
	sum := sha256.Sum256(body)
	return WriteFile(path, append([]byte(hex.EncodeToString(sum[:])+"\n"), body...))
}

// ReadChecked gives the body of the newest whole file to use: the one at path, else
// the one before it. It returns false when there is none. A file that is damaged,
// by its checksum or in the opinion of use, is put aside.
func ReadChecked(path string, log *slog.Logger, use func(body []byte) error) bool {
	for _, name := range []string{path, path + ".previous"} {
		body, err := readChecked(name)
		if err == nil {
			if err = use(body); err == nil {
				return true
			}
			err = fmt.Errorf("read %q: %w: %w", name, ErrDamaged, err)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrDamaged):
			aside, asideErr := Quarantine(name)
			log.Error("file is damaged; trying the one before", "error", err, "kept_as", aside, "quarantine_error", asideErr)
		default:
			log.Error("file cannot be read; trying the one before", "error", err)
		}
	}
	return false
}

func readChecked(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if sum := sha256.Sum256(body); string(head) != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("read %q: %w", path, ErrDamaged)
	}
	return body, nil
}
