// Package sensortest is the contract suite of [sensors.Source]: what the
// interface's documentation promises, checked on a real implementation.
package sensortest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/sensors"
)

// Fixture is one Source, ready to run, and what a test must know about it.
type Fixture struct {
	Source sensors.Source
	// Channels are the channels the Source emits, as "machine/channel"; each
	// must appear within Blocks blocks.
	Channels []string
	// Blocks is how many blocks the suite takes to judge. Default 20.
	Blocks int
	// Feed keeps the physical world going while the Source runs, for a Source
	// that would otherwise be silent; it returns when ctx ends. Optional.
	Feed func(ctx context.Context)
}

// patience is how long the suite waits before it calls a Source stuck.
const patience = 20 * time.Second

// TestSource runs the suite. newFixture is called once for each subtest, and
// registers its cleaning up with t.
func TestSource(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *probe)
	}{
		{"BlocksAreValidAndInOrder", testBlocks},
		{"SamplesBelongToTheReceiver", testOwnership},
		{"StopsWhenContextEnds", testStop},
		{"StopsWhileReceiverWaits", testStopBlocked},
		{"ContextAlreadyEnded", testEnded},
		{"EmitErrorEndsRun", testEmitError},
		{"RunsAgain", testAgain},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if f.Blocks == 0 {
				f.Blocks = 20
			}
			// After the fixture: what it started itself is not the Source's leak.
			before := goleak.IgnoreCurrent()
			c.test(t, &probe{t: t, Fixture: f})
			goleak.VerifyNone(t, before)
		})
	}
}

// probe runs the Source of a Fixture and watches its manners.
type probe struct {
	t *testing.T
	Fixture
	inside atomic.Int32 // calls of emit under way
}

// run runs the Source until it returns, and fails if it never does.
func (p *probe) run(ctx context.Context, emit func(sensors.Block) error) error {
	p.t.Helper()
	feeding, stopFeeding := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if p.Feed != nil {
			p.Feed(feeding)
		}
	}()
	done := make(chan error, 1)
	var linger sync.Once // at the first block, so that a second call at the same time is seen
	go func() {
		done <- p.Source.Run(ctx, func(b sensors.Block) error {
			if p.inside.Add(1) > 1 {
				p.t.Error("emit was called while an earlier call was under way")
			}
			defer p.inside.Add(-1)
			linger.Do(func() { time.Sleep(10 * time.Millisecond) })
			return emit(b)
		})
	}()
	stuck := time.NewTimer(patience)
	defer stuck.Stop()
	select {
	case err := <-done:
		stopFeeding()
		<-fed
		if p.inside.Load() != 0 {
			p.t.Error("Run returned while emit was under way")
		}
		return err
	case <-stuck.C:
		stopFeeding()
		p.t.Fatalf("Run did not return within %v", patience)
		return nil
	}
}

// take runs the Source until n blocks came or it is exhausted.
func (p *probe) take(n int, each func(sensors.Block)) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	got := 0
	err := p.run(ctx, func(b sensors.Block) error {
		if got++; got <= n {
			each(b)
		}
		if got >= n {
			cancel()
		}
		return nil
	})
	if err != nil {
		p.t.Errorf("Run: %v; want nil after the end of ctx or of the source", err)
	}
	if got == 0 {
		p.t.Error("Source emitted nothing")
	}
}

func testBlocks(t *testing.T, p *probe) {
	newest := map[string]sensors.Block{}
	p.take(p.Blocks, func(b sensors.Block) {
		name := b.Machine + "/" + b.Channel
		if err := b.Validate(); err != nil {
			t.Errorf("emitted an invalid block: %v", err)
		}
		if !slices.Contains(p.Channels, name) {
			t.Errorf("emitted a block of %s, which was not declared", name)
		}
		if last, ok := newest[name]; ok && b.Start.Before(last.Start) && b.Quality&sensors.QualityGap == 0 {
			t.Errorf("%s: block at %v after one at %v, without QualityGap", name, b.Start, last.Start)
		}
		newest[name] = b
	})
	for _, name := range p.Channels {
		if _, ok := newest[name]; !ok {
			t.Errorf("no block of %s within %d blocks", name, p.Blocks)
		}
	}
}

func testOwnership(t *testing.T, p *probe) {
	var kept, copies [][]float64
	p.take(p.Blocks, func(b sensors.Block) {
		kept = append(kept, b.Samples)
		copies = append(copies, slices.Clone(b.Samples))
	})
	for i := range kept {
		if !slices.Equal(kept[i], copies[i]) {
			t.Fatalf("samples of block %d changed after it was emitted", i)
		}
	}
	for i := range kept { // writing into one, or growing it, must not show in another
		for j := range kept[i] {
			kept[i][j] = -12345.678
		}
		_ = append(kept[i], -12345.678)
		if i+1 < len(kept) && !slices.Equal(kept[i+1], copies[i+1]) {
			t.Fatalf("blocks %d and %d share memory", i, i+1)
		}
	}
}

func testStop(t *testing.T, p *probe) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := p.run(ctx, func(sensors.Block) error { cancel(); return nil })
	if err != nil {
		t.Errorf("Run: %v; want nil when ctx ends", err)
	}
}

func testStopBlocked(t *testing.T, p *probe) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := p.run(ctx, func(sensors.Block) error {
		cancel()
		<-ctx.Done() // a receiver that waits lets go when ctx ends
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v; want nil or the error of emit", err)
	}
}

func testEnded(t *testing.T, p *probe) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.run(ctx, func(sensors.Block) error { return nil }); err != nil {
		t.Errorf("Run: %v; want nil when ctx has ended", err)
	}
}

func testEmitError(t *testing.T, p *probe) {
	full := errors.New("receiver is full")
	calls := 0
	err := p.run(t.Context(), func(sensors.Block) error { calls++; return full })
	if !errors.Is(err, full) {
		t.Errorf("Run: %v; want the error of emit", err)
	}
	if calls != 1 {
		t.Errorf("emit was called %d times; want no call after its error", calls)
	}
}

func testAgain(t *testing.T, p *probe) {
	p.take(1, func(sensors.Block) {})
	p.take(1, func(sensors.Block) {})
}
