package bussource

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

func TestSource(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		scalar := thermometer()
		scalar.every = 20 * time.Millisecond
		chip := accel()
		chip.depth = 1 << 20 // the contract is judged here, not how busy this box is
		s, err := New([]Device{chip.device("SPI0", "vibration"), scalar.device("I2C1", "temperature")},
			Options{BlockDuration: 50 * time.Millisecond}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return sensortest.Fixture{Source: s, Channels: []string{"m/vibration", "m/temperature"}, Blocks: 150}
	})
}

// The rate passed on is what the chip does, not what it says; nothing is lost, and
// blocks join without a seam.
func TestSource_MeasuresTheRate(t *testing.T) {
	for _, hz := range []float64{3200, 3200 * 1.04, 3200 * 0.96} {
		synctest.Test(t, func(t *testing.T) {
			f := accel()
			f.trueHz = hz
			h := start(t, Options{}, f.device("SPI0", "vibration"))
			time.Sleep(30 * time.Second)
			synctest.Wait()
			blocks := h.take("vibration")
			samples, gaps := ramp(t, blocks, hz, 0.003)
			if gaps != 0 || float64(samples) < 29*hz {
				t.Errorf("%v Hz: %d samples and %d gaps in 30 s", hz, samples, gaps)
			}
			last := blocks[len(blocks)-1]
			if off := last.RateHz/hz - 1; off > 0.0005 || off < -0.0005 {
				t.Errorf("rate after 30 s is %v Hz; want %v", last.RateHz, hz)
			}
			// Sample k was taken at began + (k+1)/hz, to within one poll.
			want := f.began.Add(time.Duration((last.Samples[0] + 1) / hz * 1e9))
			if off := last.Start.Sub(want).Abs(); off > 5*time.Millisecond {
				t.Errorf("last block begins %v away from when its first sample was taken", off)
			}
			if s := h.balanced(); s.Devices[0].MeasuredHz == 0 || !s.Devices[0].Up {
				t.Errorf("stats say %+v", s.Devices[0])
			}
		})
	}
}

func TestSource_RefusesImplausibleRate(t *testing.T) {
	for _, hz := range []float64{3200 * 1.15, 1600} {
		synctest.Test(t, func(t *testing.T) {
			f := accel()
			f.trueHz = hz
			h := start(t, Options{}, f.device("SPI0", "vibration"))
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if n := len(h.take("vibration")); n != 0 {
				t.Errorf("emitted %d blocks at %v Hz instead of 3200", n, hz)
			}
			if s := h.balanced(); float64(s.Dropped[RateImplausible]) < 18*hz {
				t.Errorf("dropped %v", s.Dropped)
			}
			if n := h.lines("implausible"); n != 1 {
				t.Errorf("log has %d lines about the rate in 20 s; want 1", n)
			}
			// When the rate becomes right, data flows again, after a flagged gap.
			f.set(func() { f.trueHz, f.began, f.taken = 3200, time.Now(), 0 })
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if _, gaps := ramp(t, h.take("vibration"), 3200, 0.05); gaps != 1 {
				t.Errorf("%d flagged gaps after the rate became right; want 1", gaps)
			}
		})
	}
}

func TestSource_Overrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := accel()
		h := start(t, Options{}, f.device("SPI0", "vibration"))
		time.Sleep(5 * time.Second)
		for range 3 {
			f.set(func() { f.slow = 100 * time.Millisecond })
			time.Sleep(50 * time.Millisecond)
			f.set(func() { f.slow = 0 })
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		_, gaps := ramp(t, h.take("vibration"), 3200, 0.01)
		s := h.balanced()
		if s.Devices[0].Overruns < 3 || int64(gaps) < 3 || int64(gaps) > s.Devices[0].Overruns {
			t.Errorf("%d gaps flagged, %d overruns counted", gaps, s.Devices[0].Overruns)
		}
		if n := h.lines("FIFO"); n != 1 {
			t.Errorf("log has %d lines about overruns within a minute; want 1", n)
		}
	})
}

// A chip is pulled out and put back: counted, said once a minute, flagged, and the
// device on another bus does not notice.
func TestSource_UnplugAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, other := accel(), thermometer()
		h := start(t, Options{}, f.device("SPI0", "vibration"), other.device("I2C1", "temperature"))
		time.Sleep(5 * time.Second)
		f.set(func() { f.broken = errUnplugged })
		time.Sleep(150 * time.Second)
		s := h.balanced()
		if d := s.Devices[0]; d.Up || d.LastError != errUnplugged.Error() || d.Errors < 8 || d.Errors > 20 {
			t.Errorf("after 150 s unplugged: %+v", d)
		}
		if n := h.lines("device is down"); n < 2 || n > 3 {
			t.Errorf("log has %d lines in 150 s; want one a minute", n)
		}
		ramp(t, h.take("vibration"), 3200, 0.003)
		if n := len(h.take("temperature")); n < 1500 || n > 1560 {
			t.Errorf("the other bus gave %d values in 155 s; want 10 a second", n)
		}
		f.set(func() { f.broken = nil })
		time.Sleep(35 * time.Second)
		synctest.Wait()
		blocks := h.take("vibration")
		if _, gaps := ramp(t, blocks, 3200, 0.003); gaps != 1 || blocks[0].Quality&sensors.QualityGap == 0 {
			t.Errorf("%d gaps flagged after the return; want 1, at the first block", gaps)
		}
		if s := h.balanced(); !s.Devices[0].Up || s.Devices[0].Starts != 2 {
			t.Errorf("after the return: %+v", s.Devices[0])
		}
		h.stop()
		if f.opened != 0 {
			t.Errorf("%d links were never closed", f.opened)
		}
	})
}

// A call that never returns takes its bus with it, and nothing else; when it
// returns after all, the bus is used again.
func TestSource_StuckBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, neighbour, other := thermometer(), thermometer(), accel()
		h := start(t, Options{}, hung.device("I2C1", "a"), neighbour.device("I2C1", "b"), other.device("SPI0", "c"))
		time.Sleep(5 * time.Second)
		hang := make(chan struct{})
		hung.set(func() { hung.hang = hang })
		time.Sleep(3 * time.Second)
		h.take("b")
		time.Sleep(150 * time.Second)
		s := h.balanced()
		if a, b := s.Devices[0], s.Devices[1]; a.Up || b.Up || a.Timeouts != 1 || !strings.Contains(a.LastError, "does not answer") {
			t.Errorf("stuck bus: %+v %+v", a, b)
		}
		if n := len(h.take("b")); n != 0 {
			t.Errorf("a stuck bus gave %d values", n)
		}
		if n := h.lines("still stuck"); n < 2 || n > 3 {
			t.Errorf("log has %d lines in 150 s; want one a minute", n)
		}
		if samples, gaps := ramp(t, h.take("c"), 3200, 0.003); samples < 3200*156 || gaps != 0 {
			t.Errorf("the other bus gave %d samples with %d gaps", samples, gaps)
		}
		hung.set(func() { hung.hang = nil })
		close(hang)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if a, b := h.take("a"), h.take("b"); len(a) < 20 || len(b) < 20 || b[0].Quality&sensors.QualityGap == 0 {
			t.Errorf("after the bus came back: %d and %d values", len(a), len(b))
		}
	})
}

// Run ends although a call hangs, and the next Run waits for that call.
func TestSource_StopsWhileStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := thermometer()
		hang := make(chan struct{})
		f.hang = hang
		s, err := New([]Device{f.device("I2C1", "a")}, Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		run := func(d time.Duration) time.Duration {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := s.Run(ctx, func(sensors.Block) error { return nil }); err != nil {
				t.Errorf("Run: %v", err)
			}
			return time.Since(began)
		}
		if d := run(time.Second); d > 3*time.Second {
			t.Errorf("Run took %v to end; want the call's time-out at most", d)
		}
		run(time.Minute)
		if f.starts != 1 {
			t.Errorf("a stuck device was started %d times", f.starts)
		}
		f.set(func() { f.hang = nil })
		close(hang)
		run(time.Minute)
		if st := s.Stats(); f.starts != 2 || st.Emitted < 500 {
			t.Errorf("after the call returned: %d starts, %+v", f.starts, st)
		}
	})
}

// A chip that is reset by a glitch answers, but gives no samples any more.
func TestSource_SilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := accel()
		h := start(t, Options{}, f.device("SPI0", "vibration"))
		time.Sleep(5 * time.Second)
		f.set(func() { f.silence = true })
		time.Sleep(1500 * time.Millisecond)
		f.set(func() { f.silence = false })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := h.balanced(); s.Devices[0].Starts != 2 || !strings.Contains(s.Devices[0].LastError, "no samples") {
			t.Errorf("stats say %+v", s.Devices[0])
		}
	})
}

func TestSource_Faults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := thermometer()
		h := start(t, Options{}, f.device("I2C1", "a"))
		time.Sleep(time.Second)
		f.set(func() { f.fault = errors.New("thermocouple is open") })
		time.Sleep(10 * time.Second)
		f.set(func() { f.fault = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		s := h.balanced()
		if d := s.Devices[0]; d.Faults < 95 || d.Faults > 105 || s.Dropped[Fault] != d.Faults || d.Errors != 0 || !d.Up {
			t.Errorf("10 s of faults, ten a second: %+v, dropped %v", d, s.Dropped)
		}
		if n := h.lines("thermocouple is open"); n != 1 {
			t.Errorf("log has %d lines; want 1", n)
		}
		gaps := 0
		for _, b := range h.take("a") {
			if b.Samples[0] != 21.5 {
				t.Errorf("value %v", b.Samples)
			}
			if b.Quality&sensors.QualityGap != 0 {
				gaps++
			}
		}
		if gaps != 1 {
			t.Errorf("%d gaps flagged; want 1, after the faults", gaps)
		}
	})
}

// A receiver that waits does not hold up a bus: what does not fit is counted.
func TestSource_SlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := accel()
		s, err := New([]Device{f.device("SPI0", "vibration")}, Options{MaxQueuedSamples: 10000}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		h := &harness{t: t, source: s}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var blocks []sensors.Block
		if err := s.Run(ctx, func(b sensors.Block) error {
			blocks = append(blocks, b)
			time.Sleep(10 * time.Second)
			if q := h.balanced().Queued; q > 10000+3200 {
				t.Errorf("%d samples are queued", q)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if st := h.balanced(); st.Dropped[QueueFull] < 100000 || st.Devices[0].Overruns != 0 {
			t.Errorf("stats say %+v", st)
		}
		ramp(t, blocks, 3200, 0.003)
	})
}

func TestNew_Refuses(t *testing.T) {
	d := thermometer().device("I2C1", "a")
	nameless := thermometer().device("I2C1", "")
	for _, c := range []struct {
		devices []Device
		opts    Options
		want    string
	}{
		{nil, Options{}, "no devices"},
		{[]Device{d, d}, Options{}, "declared twice"},
		{[]Device{nameless}, Options{}, "has no name"},
		{[]Device{{Name: "x", Driver: thermometer()}}, Options{}, "0 channels"},
		{[]Device{d}, Options{CallTimeout: -1}, "call_timeout"},
		{[]Device{d}, Options{MinBackoff: time.Minute, MaxBackoff: time.Second}, "max_backoff"},
	} {
		if _, err := New(c.devices, c.opts, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New: %v; want something about %q", err, c.want)
		}
	}
}
