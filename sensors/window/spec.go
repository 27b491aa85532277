package window

import (
	"errors"
	"fmt"
	"time"
)

// Spec says how a machine's blocks are cut into windows.
type Spec struct {
	Window time.Duration // length of a window, > 0 and at most 30 days
	Hop    time.Duration // from one window's start to the next, Window/10000 ≤ Hop ≤ Window; zero means Window
	// MaxGap is the longest silence of a channel inside a window: between two
	// samples, and between a sample and the window's start or end. It is also how
	// long a window waits for a channel after another has passed its end. At most 30
	// days; zero means Window.
	MaxGap   time.Duration
	Channels []string // the channels a window must have, in the order of its segments
	// MaxPending bounds the samples kept of one channel; more are dropped and
	// counted as overflow. Zero means 1<<20, which is 8 MiB a channel.
	MaxPending int
}

const (
	longest           = 30 * 24 * time.Hour
	maxOverlap        = 10_000  // windows a sample may belong to
	defaultMaxPending = 1 << 20 // samples a channel
)

// complete returns s with its defaults filled in, or all that is wrong with it.
func (s Spec) complete() (Spec, error) {
	if s.Hop == 0 {
		s.Hop = s.Window
	}
	if s.MaxGap == 0 {
		s.MaxGap = s.Window
	}
	if s.MaxPending == 0 {
		s.MaxPending = defaultMaxPending
	}
	var errs []error
	if s.Window <= 0 || s.Window > longest {
		errs = append(errs, fmt.Errorf("window is %v; it must be more than 0 and at most %v", s.Window, longest))
	}
	if s.Hop < 0 || s.Hop > s.Window {
		errs = append(errs, fmt.Errorf("hop is %v; it must be more than 0 and at most the window of %v", s.Hop, s.Window))
	} else if s.Hop < s.Window/maxOverlap {
		errs = append(errs, fmt.Errorf("hop is %v; a window of %v needs at least %v", s.Hop, s.Window, s.Window/maxOverlap))
	}
	if s.MaxGap < 0 || s.MaxGap > longest {
		errs = append(errs, fmt.Errorf("max_gap is %v; it must be more than 0 and at most %v", s.MaxGap, longest))
	}
	if s.MaxPending < 0 {
		errs = append(errs, fmt.Errorf("max_pending is %d; it must be more than 0", s.MaxPending))
	}
	if len(s.Channels) == 0 {
		errs = append(errs, errors.New("no channel is named; a window needs at least one"))
	}
	seen := map[string]bool{}
	for i, c := range s.Channels {
		switch {
		case c == "":
			errs = append(errs, fmt.Errorf("channel %d has no name", i))
		case seen[c]:
			errs = append(errs, fmt.Errorf("channel %q is named twice", c))
		}
		seen[c] = true
	}
	return s, errors.Join(errs...)
}
