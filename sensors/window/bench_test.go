package window

import (
	"testing"
	"time"
)

// BenchmarkAddScalar is a message of one sample: eight channels at 1 Hz, 15 s windows
// each second.
func BenchmarkAddScalar(b *testing.B) {
	spec := Spec{Window: 15 * time.Second, Hop: time.Second, MaxGap: 3 * time.Second, Channels: []string{"a", "b", "c", "d", "e", "f", "g", "h"}}
	w, err := New("m", spec)
	if err != nil {
		b.Fatal(err)
	}
	blk := block("a", 0, 1, 1, 0)
	windows := 0
	emit := func(*Window) error { windows++; return nil }
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		blk.Channel = spec.Channels[i%8]
		if i%8 == 0 {
			blk.Start = blk.Start.Add(time.Second)
		}
		if err := w.Add(blk, emit); err != nil {
			b.Fatal(err)
		}
	}
	if want := b.N/8 - 20; windows < want {
		b.Fatalf("%d windows, want %d", windows, want)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
}

// BenchmarkAddBurst is vibration at 3.2 kHz in blocks of a quarter of a second.
func BenchmarkAddBurst(b *testing.B) {
	w, err := New("m", Spec{Window: 10 * time.Second, Channels: []string{"v"}})
	if err != nil {
		b.Fatal(err)
	}
	blk := block("v", 0, 3200, 800, 0)
	emit := func(*Window) error { return nil }
	b.ReportAllocs()
	b.SetBytes(800 * 8)
	for b.Loop() {
		if err := w.Add(blk, emit); err != nil {
			b.Fatal(err)
		}
		blk.Start = blk.Start.Add(250 * time.Millisecond)
	}
	b.ReportMetric(800*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
