package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
)

// hold lets machines wait for the line "continue" on standard input, which
// releases all of them, those that come later too.
type hold struct {
	in    io.Reader
	once  sync.Once
	ended chan struct{}
	err   error // set before ended is closed
}

func newHold(in io.Reader) *hold { return &hold{in: in, ended: make(chan struct{})} }

var errNobody = errors.New(`standard input ended before the line "continue" came; keep it open while a machine holds`)

// wait returns nil when the line came. The first call starts the goroutine that
// reads; a read from standard input cannot be cancelled, so it may outlive ctx,
// until the program ends.
func (h *hold) wait(ctx context.Context) error {
	h.once.Do(func() { go h.read() })
	select {
	case <-h.ended:
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hold) read() {
	defer close(h.ended)
	lines := bufio.NewScanner(h.in)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "continue" {
			return
		}
	}
	h.err = errNobody
}
