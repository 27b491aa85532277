package mqttsource

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

const (
	maxOpenBursts = 4  // of one channel, so that parts of neighbours may mix
	maxDoneBursts = 16 // remembered, to know a part that comes again
)

// burst is a run of samples that comes in parts, in any order.
type burst struct {
	number  uint64
	parts   [][]float64
	missing int
	samples int
	first   decode.Reading // the first part that came, without samples
	since   time.Time
}

var errIncomplete = errors.New("parts of a burst are missing; check the sender, and that parts of one burst come within the time for it")

// assemble adds a part to its burst. It reports whether r now is the whole burst;
// else the part is kept, or refused and booked.
func (s *Source) assemble(it *item, f *feed, r *decode.Reading) (whole bool) {
	f.bursts = slices.DeleteFunc(f.bursts, func(b *burst) bool {
		late := it.arrived.Sub(b.since) > s.opts.MaxBurstWait
		if late {
			s.abandon(it, f, b)
		}
		return late
	})
	i := slices.IndexFunc(f.bursts, func(b *burst) bool { return b.number == r.Burst })
	n := len(r.Samples)
	switch {
	case i < 0 && slices.Contains(f.done, r.Burst):
		s.refuse(it, f, Duplicate, n, errors.New("part of a burst that was complete already"))
		return false
	case s.held+n > s.opts.MaxBurstSamples:
		s.refuse(it, f, Incomplete, n, fmt.Errorf("unfinished bursts hold over %d samples; send smaller ones or raise the limit", s.opts.MaxBurstSamples))
		return false
	}
	if i < 0 {
		if len(f.bursts) == maxOpenBursts {
			s.abandon(it, f, f.bursts[0])
			f.bursts = slices.Delete(f.bursts, 0, 1)
		}
		b := &burst{number: r.Burst, parts: make([][]float64, r.Parts), missing: r.Parts, first: *r, since: it.arrived}
		b.first.Samples = nil
		f.bursts = append(f.bursts, b)
		i = len(f.bursts) - 1
	}
	b := f.bursts[i]
	switch {
	case len(b.parts) != r.Parts || b.first.RateHz != r.RateHz || !b.first.Time.Equal(r.Time):
		s.refuse(it, f, Malformed, n, fmt.Errorf("parts of burst %d do not agree on the number of parts, time or rate; give every burst another number", r.Burst))
		return false
	case b.parts[r.Part] != nil:
		s.refuse(it, f, Duplicate, n, fmt.Errorf("part %d of burst %d came twice", r.Part, r.Burst))
		return false
	}
	b.parts[r.Part] = r.Samples
	b.missing--
	b.samples += n
	b.first.Quality |= r.Quality
	s.hold(n)
	s.outcome.emitted = true
	if b.missing > 0 {
		return false
	}
	samples := make([]float64, 0, b.samples)
	for _, p := range b.parts {
		samples = append(samples, p...)
	}
	*r = b.first
	r.Samples = samples
	f.bursts = slices.Delete(f.bursts, i, i+1)
	if f.done = append(f.done, b.number); len(f.done) > maxDoneBursts {
		f.done = slices.Delete(f.done, 0, 1)
	}
	s.hold(-b.samples)
	return true
}

// hold books n samples more, or fewer, that wait for the rest of their burst.
func (s *Source) hold(n int) {
	s.held += n
	s.outcome.held += int64(n)
}

// abandon books what came of a burst that will not be complete.
func (s *Source) abandon(it *item, f *feed, b *burst) {
	s.hold(-b.samples)
	s.outcome.lost = append(s.outcome.lost, loss{Incomplete, int64(b.samples)})
	f.gap = true
	s.complain.dropped(Incomplete, it.topic, f, fmt.Errorf("burst %d of %d parts: %w", b.number, len(b.parts), errIncomplete))
}

// forgetBursts abandons all bursts of a feed.
func (s *Source) forgetBursts(it *item, f *feed) {
	for _, b := range f.bursts {
		s.abandon(it, f, b)
	}
	f.bursts = nil
}

// stopBursts books the bursts that are unfinished when Run ends.
func (s *Source) stopBursts() {
	s.routes.mu.Lock()
	defer s.routes.mu.Unlock()
	var held int64
	for _, f := range s.routes.feeds {
		for _, b := range f.bursts {
			held += int64(b.samples)
		}
		f.bursts = nil
	}
	s.held = 0
	s.inbox.stopHeld(held)
}

// gapAfter marks all feeds of a device: samples may be missing.
func gapAfter(feeds []*feed) {
	for _, f := range feeds {
		f.gap = true
	}
}
