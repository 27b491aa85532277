package bussource

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"periph.io/x/conn/v3"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// fake is a chip. With a rate it fills a FIFO of depth samples as time goes by, a
// ramp of 1 a sample, so that a test sees every loss.
type fake struct {
	nominalHz float64
	trueHz    float64
	depth     int64
	every     time.Duration

	mu      sync.Mutex
	began   time.Time
	taken   int64 // samples taken or lost since began
	next    float64
	broken  error         // what Open, Start and Read return
	hang    chan struct{} // Read waits for it
	slow    time.Duration // how long Read takes
	value   float64       // of a chip without stream
	fault   error
	starts  int
	opened  int // and not yet closed
	silence bool
}

func (f *fake) Plan() chips.Plan {
	return chips.Plan{RateHz: f.nominalHz, Every: f.every, Quantities: []sensors.Quantity{sensors.Acceleration}}
}

func (f *fake) open() (Link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return Link{}, f.broken
	}
	f.opened++
	return Link{Close: func() error { f.mu.Lock(); f.opened--; f.mu.Unlock(); return nil }}, nil
}

func (f *fake) Start(conn.Conn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.began, f.taken = time.Now(), 0
		f.starts++
	}
	return f.broken
}

func (f *fake) Read(b *chips.Batch) error {
	f.mu.Lock()
	hang, slow := f.hang, f.slow
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
	time.Sleep(slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	if f.nominalHz == 0 {
		if b.Faults[0] = f.fault; f.fault == nil {
			b.Values[0] = append(b.Values[0], f.value)
		}
		return nil
	}
	if f.silence {
		return nil
	}
	n := int64(time.Since(f.began).Seconds()*f.trueHz) - f.taken
	f.taken += n
	if n > f.depth {
		f.next += float64(n - f.depth)
		n, b.Overrun = f.depth, true
	}
	for range n {
		b.Values[0] = append(b.Values[0], f.next)
		f.next++
	}
	return nil
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) device(bus, channel string) Device {
	return Device{Bus: bus, Name: bus + " " + channel, Open: f.open, Driver: f, Channels: []Channel{{"m", channel}}}
}

func accel() *fake {
	return &fake{nominalHz: 3200, trueHz: 3200, depth: 32, every: 5 * time.Millisecond}
}

func thermometer() *fake { return &fake{every: 100 * time.Millisecond, value: 21.5} }

// harness runs a Source in the background and keeps what it emits.
type harness struct {
	t      *testing.T
	source *Source
	log    bytes.Buffer
	logMu  sync.Mutex
	stop   func()

	mu     sync.Mutex
	blocks map[string][]sensors.Block
}

func (h *harness) Write(p []byte) (int, error) {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.Write(p)
}

// lines returns how many lines of the log hold what.
func (h *harness) lines(what string) int {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	n := 0
	for l := range strings.Lines(h.log.String()) {
		if strings.Contains(l, what) {
			n++
		}
	}
	return n
}

func start(t *testing.T, opts Options, devices ...Device) *harness {
	t.Helper()
	h := &harness{t: t, blocks: map[string][]sensors.Block{}}
	var err error
	if h.source, err = New(devices, opts, slog.New(slog.NewTextHandler(h, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- h.source.Run(ctx, func(b sensors.Block) error {
			if err := b.Validate(); err != nil {
				t.Error(err)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.blocks[b.Channel] = append(h.blocks[b.Channel], b)
			return nil
		})
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		h.balanced()
		if q := h.source.Stats().Queued; q != 0 {
			t.Errorf("%d samples are queued after Run", q)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// take returns the blocks of a channel so far, and forgets them.
func (h *harness) take(channel string) []sensors.Block {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.blocks[channel]
	h.blocks[channel] = nil
	return b
}

func (h *harness) balanced() Stats {
	h.t.Helper()
	s := h.source.Stats()
	sum := s.Emitted + s.Queued
	for _, n := range s.Dropped {
		sum += n
	}
	if s.Received != sum {
		h.t.Errorf("received %d, but emitted + dropped + queued is %d: %+v", s.Received, sum, s)
	}
	return s
}

// ramp checks that blocks hold a ramp without a gap but where flagged, at times that
// fit, and returns the number of samples and of flagged gaps.
func ramp(t *testing.T, blocks []sensors.Block, hz, within float64) (samples, gaps int) {
	t.Helper()
	var prev *sensors.Block
	for i := range blocks {
		b := &blocks[i]
		samples += len(b.Samples)
		if math.Abs(b.RateHz/hz-1) > within {
			t.Errorf("block %d has rate %v Hz; want %v", i, b.RateHz, hz)
		}
		for j := 1; j < len(b.Samples); j++ {
			if b.Samples[j] != b.Samples[j-1]+1 {
				t.Errorf("block %d: sample %d is %v after %v: lost within a block", i, j, b.Samples[j], b.Samples[j-1])
			}
		}
		if b.Quality&sensors.QualityGap != 0 {
			gaps++
		} else if prev != nil {
			if last := prev.Samples[len(prev.Samples)-1]; b.Samples[0] != last+1 {
				t.Errorf("block %d begins with %v after %v, without QualityGap", i, b.Samples[0], last)
			}
			if off := b.Start.Sub(prev.Start.Add(prev.Duration())).Abs(); off.Seconds() > 0.5/hz {
				t.Errorf("block %d begins %v away from the end of the one before", i, off)
			}
		}
		prev = b
	}
	return samples, gaps
}

var errUnplugged = errors.New("remote I/O error")
