package i2csource

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

var errNAK = errors.New("remote I/O error")

// adapter is a bus with chips that are arrays of registers.
type adapter struct {
	mu    sync.Mutex
	chips map[uint16]map[byte][]byte // address, register, what a read from there gives
	hang  chan struct{}              // Tx never returns until it is closed
	opens int
}

func (a *adapter) open(string, time.Duration) (i2c.BusCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opens++
	return a, nil
}

func (a *adapter) String() string                  { return "adapter" }
func (a *adapter) Close() error                    { return nil }
func (a *adapter) SetSpeed(physic.Frequency) error { return nil }

func (a *adapter) Tx(address uint16, w, r []byte) error {
	a.mu.Lock()
	hang := a.hang
	a.mu.Unlock()
	if hang != nil {
		<-hang
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	regs := a.chips[address]
	if regs == nil {
		return errNAK
	}
	if len(r) > 0 {
		copy(r, regs[w[0]])
	} else if regs[w[0]] != nil {
		regs[w[0]] = append([]byte(nil), w[1:]...)
	}
	return nil
}

// thermometer is an MCP9808 at 25.25 °C (data sheet DS25095A, p. 24 to 28).
func thermometer() map[byte][]byte {
	return map[byte][]byte{0x05: {0xC1, 0x94}, 0x06: {0x00, 0x54}, 0x07: {0x04, 0x00}}
}

func channel(name, device string, address uint16) chips.Channel {
	return chips.Channel{Machine: "m", Channel: name, Options: chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, Device: device, Address: address, Chip: "mcp9808", Every: 100 * time.Millisecond}}}
}

func TestSource(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		a := &adapter{chips: map[uint16]map[byte][]byte{0x18: thermometer(), 0x1F: thermometer()}}
		c, d := channel("a", "I2C1", 0), channel("b", "/dev/i2c-1", 0x1F)
		c.Every, d.Every = 5*time.Millisecond, 5*time.Millisecond
		s, err := New([]chips.Channel{c, d}, Options{Open: a.open}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return sensortest.Fixture{Source: s, Channels: []string{"m/a", "m/b"}}
	})
}

// A bus whose Tx never returns takes its own devices down and no others; one absent
// chip does not disturb its neighbours.
func TestSource_StuckBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := &adapter{chips: map[uint16]map[byte][]byte{0x18: thermometer()}}
		well := &adapter{chips: map[uint16]map[byte][]byte{0x18: thermometer()}}
		open := func(bus string, timeout time.Duration) (i2c.BusCloser, error) {
			if timeout != 200*time.Millisecond {
				t.Errorf("time-out %v; want 200ms", timeout)
			}
			return map[string]*adapter{"I2C1": stuck, "I2C2": well}[bus].open(bus, timeout)
		}
		s, err := New([]chips.Channel{channel("a", "I2C1", 0x18), channel("b", "I2C2", 0x18), channel("absent", "I2C2", 0x19)},
			Options{Open: open}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := map[string]int{}
		done := make(chan error, 1)
		go func() {
			done <- s.Run(ctx, func(b sensors.Block) error {
				if got[b.Channel]++; math.Abs(b.Samples[0]-25.25) > 0 {
					t.Errorf("%s is %v", b.Channel, b.Samples)
				}
				return nil
			})
		}()
		time.Sleep(10 * time.Second)
		hang := make(chan struct{})
		stuck.mu.Lock()
		stuck.hang = hang
		stuck.mu.Unlock()
		time.Sleep(60 * time.Second)
		st := s.Stats()
		if d := st.Devices[0]; d.Up || d.Timeouts != 1 || !strings.Contains(d.LastError, "bus does not answer within 2s") {
			t.Errorf("stuck bus: %+v", d)
		}
		if d := st.Devices[2]; d.Up || d.Starts != 0 || !strings.Contains(d.LastError, errNAK.Error()) || d.Errors > 15 {
			t.Errorf("absent chip: %+v", d)
		}
		stuck.mu.Lock()
		stuck.hang = nil
		stuck.mu.Unlock()
		close(hang)
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if a, b := got["a"], got["b"]; a < 180 || a > 202 || b < 795 || b > 802 || got["absent"] != 0 {
			t.Errorf("%d values of the bus that was stuck for 60 of 80 s, %d of the other; want 200 and 800", a, b)
		}
	})
}

func TestScan(t *testing.T) {
	a := &adapter{chips: map[uint16]map[byte][]byte{
		0x18: {0x0F: {0x33}}, // an LIS3DH where an MCP9808 could be
		0x1C: thermometer(),
		0x53: {0x00: {0xE5}},
		0x77: {0xD0: {0x60}},
	}}
	want := []Found{{"adxl345", 0x53}, {"bme280", 0x77}, {"lis3dh", 0x18}, {"mcp9808", 0x1C}}
	got := Scan(a)
	if len(got) != len(want) {
		t.Fatalf("found %v; want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("found %v; want %v", got[i], want[i])
		}
	}
}
