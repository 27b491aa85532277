package window

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// FuzzWindower feeds arbitrary blocks, eight bytes each. Whatever comes: samples are
// conserved, windows come in order and on the grid, each segment fits its window,
// memory stays within its bound, and after it all good data still gives windows.
func FuzzWindower(f *testing.F) {
	f.Add(uint8(10), uint8(10), uint8(10), []byte("0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x4y5z"))
	f.Add(uint8(15), uint8(1), uint8(3), []byte("\x00\x00\x01\x01\x00\x0a\x00\x00\x01\x00\x01\x01\x00\x0a\x00\x00\x00\x00\x02\x02\x01\x0a\x00\x00"))
	f.Add(uint8(2), uint8(1), uint8(9), []byte("\x00\x00\x00\x01\x00\x0a\x00\x00\x01\x07\x01\x01\x00\x0a\x00\x00\x00\x08\x02\x02\x01\x0a\x00\x00"))
	f.Fuzz(func(t *testing.T, window, hop, gap uint8, data []byte) {
		if len(data) > 800 {
			return // a hundred blocks
		}
		const limit = 500
		spec := Spec{
			Window: time.Duration(window) * time.Second, Hop: time.Duration(hop) * time.Second,
			MaxGap: time.Duration(gap) * time.Second, Channels: []string{"a", "b"}, MaxPending: limit,
		}
		w, err := New("m", spec)
		if err != nil {
			return
		}
		c := checker{t: t, w: w, spec: w.spec}
		for ; len(data) >= 8; data = data[8:] {
			c.add(fuzzBlock(data))
			for i := range w.channels {
				if n := w.channels[i].samples.len(); n > limit || cap(w.channels[i].samples.buf) > 2*limit {
					t.Fatalf("%d samples in a buffer of %d", n, cap(w.channels[i].samples.buf))
				}
			}
		}
		// Long enough for a reset and two windows after it.
		emitted := w.Stats().Emitted
		start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		for i := range int(4*(spec.Window+w.spec.MaxGap)/time.Second) + 20 {
			for _, ch := range spec.Channels {
				c.add(sensors.Block{Machine: "m", Channel: ch, Start: start.Add(time.Duration(i) * time.Second), RateHz: 1, Samples: []float64{1}})
			}
		}
		if w.spec.MaxGap >= time.Second && w.Stats().Emitted == emitted {
			t.Fatalf("good data gives no window: %+v", w.Stats())
		}
	})
}

// fuzzBlock turns eight bytes into a block. Most lie within a few minutes.
func fuzzBlock(d []byte) sensors.Block {
	b := sensors.Block{
		Machine: "m", Channel: []string{"a", "b", "b", "a", "zzz"}[d[0]%5],
		Start:   time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(binary.LittleEndian.Uint16(d[1:])) * 10 * time.Millisecond),
		RateHz:  []float64{1, 0, 10, 100, 3, 1e9, 0.05, 1e300}[d[3]%8],
		Samples: make([]float64, int(d[4])%120),
		Quality: sensors.Quality(d[5]),
	}
	if jump := int8(d[6]); jump > 100 || jump < -100 {
		b.Start = b.Start.AddDate(int(jump), int(d[7]), 0)
	}
	for i := range b.Samples {
		b.Samples[i] = float64(i)
	}
	return b
}

type checker struct {
	t      *testing.T
	w      *Windower
	spec   Spec
	end    time.Time // of the last window
	resets int64     // how many there had been then
	count  int
}

func (c *checker) add(b sensors.Block) {
	if err := c.w.Add(b, func(w *Window) error {
		if c.w.stats.Resets == c.resets && !w.End.After(c.end) {
			c.t.Fatalf("window to %v after one to %v", w.End, c.end)
		}
		c.resets, c.end = c.w.stats.Resets, w.End
		c.window(w)
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	s := c.w.Stats()
	if s.Received != s.Used+s.Pending+s.Dropped.Total() || s.Pending < 0 || s.Pending > int64(2*c.spec.MaxPending) {
		c.t.Fatalf("samples do not add up: %+v", s)
	}
}

func (c *checker) window(w *Window) {
	if w.End.Sub(w.Start) != c.spec.Window || w.Start.UnixNano()%int64(c.spec.Hop) != 0 {
		c.t.Fatalf("window from %v to %v", w.Start, w.End)
	}
	if c.count++; c.count > 2000 {
		return // a sparse block can fill many overlapping windows
	}
	for _, s := range w.Segments {
		n := 0
		for _, p := range s.Pieces {
			if p.N < 1 || p.N > 1 && p.RateHz <= 0 || p.OffsetS < 0 || p.OffsetS >= c.spec.Window.Seconds() {
				c.t.Fatalf("piece %+v", p)
			}
			n += p.N
		}
		if n != len(s.Samples) || n == 0 || s.Pieces[0].Joined {
			c.t.Fatalf("%d samples in pieces of %d", len(s.Samples), n)
		}
	}
}
