package spisource

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"
	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

// board is an ADXL345 on SPI: registers and FIFO as the data sheet has them, its own
// clock, and a way to pull it out. Axis z is a ramp of two counts a sample.
type board struct {
	trueHz float64

	mu        sync.Mutex
	regs      [64]byte
	measuring time.Time
	made      int64 // samples since measuring
	fifo      []int16
	lost      bool
	plugged   bool
	failAfter int // transfers until one fails; 0: none
	clock     physic.Frequency
	mode      spi.Mode
}

var errBus = errors.New("input/output error")

func newBoard(hz float64) *board {
	b := &board{trueHz: hz, plugged: true}
	b.regs[0] = 0xE5
	return b
}

func (b *board) open(_ string, clock physic.Frequency, mode spi.Mode) (Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock, b.mode = clock, mode
	return boardConn{b}, nil
}

type boardConn struct{ *board }

func (boardConn) String() string         { return "board" }
func (boardConn) Duplex() conn.Duplex    { return conn.Full }
func (boardConn) Close() error           { return nil }
func (c boardConn) Tx(w, r []byte) error { return c.TxPackets([]spi.Packet{{W: w, R: r}}) }

func (c boardConn) TxPackets(all []spi.Packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range all {
		if c.failAfter > 0 {
			if c.failAfter--; c.failAfter == 0 {
				return errBus
			}
		}
		c.transfer(p.W, p.R)
	}
	return nil
}

// transfer is one selection of the chip.
func (b *board) transfer(w, r []byte) {
	if !b.plugged { // nothing drives the line; a pull-up does
		for i := range r {
			r[i] = 0xFF
		}
		return
	}
	b.fill()
	reg := int(w[0] & 0x3F)
	if w[0]&0x80 == 0 {
		b.write(reg, w[1])
		return
	}
	for i := range r[1:] {
		r[1+i] = b.regs[reg+i]
	}
	switch reg {
	case 0x30:
		r[1] = 0
		if b.lost {
			r[1] = 1
		}
	case 0x39:
		r[1] = byte(len(b.fifo))
	case 0x32:
		if len(b.fifo) > 0 {
			binary.LittleEndian.PutUint16(r[5:], uint16(b.fifo[0]))
			b.fifo, b.lost = b.fifo[1:], false
		}
	}
}

func (b *board) write(reg int, v byte) {
	b.regs[reg] = v
	switch {
	case reg == 0x38 && v>>6 == 0:
		b.fifo, b.lost = nil, false
	case reg == 0x2D && v&8 != 0:
		b.measuring, b.made = time.Now(), 0
	}
}

func (b *board) fill() {
	if b.regs[0x2D]&8 == 0 {
		return
	}
	for n := int64(time.Since(b.measuring).Seconds() * b.trueHz); b.made < n; b.made++ {
		b.fifo = append(b.fifo, int16(b.made%2000)*2)
		if len(b.fifo) > 32 {
			b.fifo, b.lost = b.fifo[1:], true
		}
	}
}

func channel(t testing.TB, text string) chips.Channel {
	t.Helper()
	c := chips.Channel{Machine: "pump-1", Channel: "vibration"}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

const vibration = `{bus: spi, device: SPI0.0, chip: adxl345, rate_hz: 3200, range_g: 16, axis: z}`

func TestSource(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		// Slow enough that a busy box is in time.
		opts := Options{Open: newBoard(195).open}
		opts.BlockDuration = 50 * time.Millisecond
		s, err := New([]chips.Channel{channel(t, strings.Replace(vibration, "3200", "200", 1))}, opts, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return sensortest.Fixture{Source: s, Channels: []string{"pump-1/vibration"}}
	})
}

// From YAML to blocks: a chip 2.5 % slow gives every sample, in m/s², at its own
// rate; an error of the bus in the middle of a burst and a chip pulled out and put
// back, without its settings, are gaps that are flagged.
func TestSource_ADXL345(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(3120)
		s, err := New([]chips.Channel{channel(t, vibration)}, Options{Open: b.open}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var blocks []sensors.Block
		done := make(chan error, 1)
		go func() {
			done <- s.Run(ctx, func(b sensors.Block) error { blocks = append(blocks, b); return nil })
		}()
		time.Sleep(10 * time.Second)
		b.mu.Lock()
		b.failAfter = 12 // two registers, then the tenth of sixteen in a burst
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		b.mu.Lock()
		b.plugged = false
		b.mu.Unlock()
		time.Sleep(5 * time.Second)
		down := s.Stats().Devices[0]
		b.mu.Lock()
		b.plugged, b.regs[0x2D], b.fifo = true, 0, nil
		b.mu.Unlock()
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if down.Up || !strings.Contains(down.LastError, "nothing seems to drive the line") {
			t.Errorf("while unplugged: %+v", down)
		}
		checkRamp(t, blocks, 3120, 2)
		if b.clock != 5*physic.MegaHertz || b.mode != spi.Mode3 {
			t.Errorf("connected at %s in mode %v; want 5 MHz, mode 3", b.clock, b.mode)
		}
		st := s.Stats()
		if d := st.Devices[0]; d.Starts != 3 || d.Overruns != 0 || math.Abs(d.MeasuredHz/3120-1) > 0.001 || d.Name != "SPI0.0 adxl345" || d.Bus != "SPI0" {
			t.Errorf("stats say %+v", d)
		}
		if st.Received != st.Emitted+st.Dropped[bussource.Stopped]+st.Dropped[bussource.Unsettled]+st.Queued {
			t.Errorf("counts do not add up: %+v", st)
		}
	})
}

// checkRamp checks that samples are the board's ramp, in m/s² at 256 counts a g,
// broken only where flagged.
func checkRamp(t *testing.T, blocks []sensors.Block, hz float64, gaps int) {
	t.Helper()
	var last float64
	found := 0
	for i, b := range blocks {
		if math.Abs(b.RateHz/hz-1) > 0.003 {
			t.Errorf("block %d has rate %v Hz; want %v", i, b.RateHz, hz)
		}
		if b.Quality&sensors.QualityGap != 0 {
			found++
			last = -1
		}
		for j, x := range b.Samples {
			count := x / 9.80665 * 256
			if want := math.Mod(last+2, 4000); last >= 0 && (i > 0 || j > 0) && math.Abs(count-want) > 1e-6 {
				t.Fatalf("block %d, sample %d is %v counts; want %v", i, j, count, want)
			}
			last = math.Round(count)
		}
	}
	if found != gaps {
		t.Errorf("%d gaps are flagged; want %d", found, gaps)
	}
}

func TestNew_Refuses(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{`{bus: spi, device: SPI0.0, chip: adxl354, axis: z}`, `channel pump-1/vibration: unknown chip "adxl354"; did you mean "adxl3`},
		{`{bus: i2c, device: I2C1, chip: adxl345, axis: z}`, `bus: is "i2c", not "spi"`},
		{`{bus: spi, device: I2C1, chip: adxl345, axis: z}`, `"I2C1" is no SPI port; write it as SPI0.0`},
		{`{bus: spi, device: SPI0.0, chip: adxl345}`, "axis is missing"},
		{`{bus: spi, device: SPI0.0, axis: z}`, "chip is missing"},
		{`{bus: spi, device: SPI0.0, chip: ads1115}`, "not made for"},
	} {
		_, err := New([]chips.Channel{channel(t, c.yaml)}, Options{}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.yaml, err, c.want)
		}
	}
	// All at once, and the same chip under two names is one chip.
	a, b := channel(t, vibration), channel(t, strings.Replace(vibration, "SPI0.0", "/dev/spidev0.0", 1))
	b.Channel, b.RateHz = "other", 100
	c := channel(t, vibration)
	c.Channel, c.Chip = "third", "nope"
	_, err := New([]chips.Channel{a, b, c}, Options{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "pump-1/vibration, pump-1/other: rate_hz: channels that share a chip must agree") || !strings.Contains(err.Error(), "unknown chip") {
		t.Errorf("%v; want both problems", err)
	}
}
