package bussource

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// Source polls devices and emits the blocks of their channels. It implements
// [sensors.Source].
type Source struct {
	opts     Options
	buses    []*bus
	devices  []*device
	ledger   *ledger
	complain *complaints
	began    time.Time // zero of the monotonic clock
	running  sync.Mutex
}

var _ sensors.Source = (*Source)(nil)

// New makes a Source of devices. The error joins every problem found. Nothing is
// opened before Run.
func New(devices []Device, opts Options, log *slog.Logger) (*Source, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("configure buses: %w", err)
	}
	if err := check(devices); err != nil {
		return nil, fmt.Errorf("configure buses: %w", err)
	}
	s := &Source{opts: opts.withDefaults(), complain: newComplaints(log), began: time.Now()}
	s.ledger = newLedger(s.opts.MaxQueuedSamples, len(devices))
	byName := map[string]*bus{}
	for i, d := range devices {
		b := byName[d.Bus]
		if b == nil {
			b = &bus{name: d.Bus, source: s}
			byName[d.Bus] = b
			s.buses = append(s.buses, b)
		}
		v := newDevice(s, i, d)
		b.devices = append(b.devices, v)
		s.devices = append(s.devices, v)
		s.ledger.device(i, func(st *DeviceStats) { st.Name, st.Bus, st.NominalHz = d.Name, d.Bus, v.plan.RateHz })
	}
	return s, nil
}

// Stats returns a consistent snapshot of the counts. It may be called at any time.
func (s *Source) Stats() Stats { return s.ledger.snapshot() }

// moment reads both clocks off a time that has both.
func (s *Source) moment(t time.Time) moment {
	return moment{wall: t.Round(0), mono: t.Sub(s.began)}
}

// Run implements [sensors.Source]. When ctx ends while a call into the kernel is
// stuck, Run returns after the call's time-out and leaves the call behind: nothing
// can end it but the kernel. Buses fail and come back for ever, so that the only
// error is one of emit. Concurrent calls take turns.
func (s *Source) Run(ctx context.Context, emit func(sensors.Block) error) error {
	s.running.Lock()
	defer s.running.Unlock()
	inner, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		s.ledger.close()
	}()
	for _, b := range s.buses {
		wg.Go(func() { b.run(inner) })
	}
	var batch []queued
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ledger.wake:
		}
		batch = s.ledger.take(batch)
		for i := range batch {
			n := len(batch[i].block.Samples)
			var err error
			stop := ctx.Err() != nil
			if !stop {
				err = emit(batch[i].block)
			}
			s.ledger.settle(n, !stop && err == nil)
			batch[i] = queued{} // the receiver's now
			if err != nil {
				s.forget(batch[i+1:])
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// forget books blocks that were taken and will not be emitted.
func (s *Source) forget(batch []queued) {
	for _, q := range batch {
		s.ledger.settle(len(q.block.Samples), false)
	}
}
