//go:build unix

package iiosource

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

func channel(name, device, element string, hz float64) chips.Channel {
	return chips.Channel{Machine: "m", Channel: name, Options: chips.Options{Wiring: chips.Wiring{Bus: chips.IIO, Device: device, Element: element}, RateHz: hz}}
}

func source(t testing.TB, b *box, channels ...chips.Channel) *bussource.Source {
	t.Helper()
	opts := Options{Root: b.root}
	opts.BlockDuration = 50 * time.Millisecond
	s, err := New(channels, opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSource_Buffer(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		b := newBox(t)
		return sensortest.Fixture{
			Source:   source(t, b, channel("x", "adxl355", "in_accel_x", 1000), channel("z", "adxl355", "in_accel_z", 1000)),
			Channels: []string{"m/x", "m/z"},
			Feed:     func(ctx context.Context) { b.put(1000, ctx.Done()) },
		}
	})
}

func TestSource_Scalars(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		c := channel("t", "bme680", "in_temp", 0)
		c.Every = 10 * time.Millisecond
		return sensortest.Fixture{Source: source(t, newBox(t), c), Channels: []string{"m/t"}}
	})
}

// collect runs s until n blocks came.
func collect(t *testing.T, s *bussource.Source, n int, meanwhile func(done <-chan struct{})) (blocks []sensors.Block) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if meanwhile != nil {
			meanwhile(ctx.Done())
		}
	}()
	err := s.Run(ctx, func(b sensors.Block) error {
		if blocks = append(blocks, b); len(blocks) >= n {
			cancel()
		}
		return nil
	})
	<-fed
	if err != nil || len(blocks) < n {
		t.Fatalf("%d blocks of %d, %v; %+v", len(blocks), n, err, s.Stats())
	}
	return blocks
}

// Base units by the ABI: (raw + offset) · scale is m°C, mV, and so on.
func TestScalars_Units(t *testing.T) {
	b := newBox(t)
	want := map[string]float64{
		"in_temp":             (-2111.0 - 100) * -10.5 / 1000, // 23.2155 °C
		"in_pressure":         101325,                         // Pa
		"in_humidityrelative": 0.45123,
		"in_voltage0":         1.024, // V
	}
	var channels []chips.Channel
	for element := range want {
		channels = append(channels, channel(element, "iio:device1", element, 0))
	}
	for _, got := range collect(t, source(t, b, channels...), 4, nil) {
		if math.Abs(got.Samples[0]-want[got.Channel]) > 1e-9 || got.RateHz != 0 {
			t.Errorf("%s is %v; want %v", got.Channel, got.Samples, want[got.Channel])
		}
	}
}

func TestBuffer_SetUpAndValues(t *testing.T) {
	b := newBox(t)
	c := channel("z", "iio:device0", "in_accel_z", 1000)
	c.Trigger = "hrtimer0"
	x := channel("x", "iio:device0", "in_accel_x", 1000)
	x.Trigger = "hrtimer0"
	var during []string
	blocks := collect(t, source(t, b, c, x), 6, func(done <-chan struct{}) {
		b.put(1000, done)
	})
	dir := "sys/bus/iio/devices/iio:device0/"
	for _, f := range []string{"sampling_frequency", "trigger/current_trigger", "buffer/length", "buffer/enable",
		"scan_elements/in_accel_x_en", "scan_elements/in_accel_z_en", "scan_elements/in_temp_en", "scan_elements/in_timestamp_en"} {
		during = append(during, b.read(dir+f))
	}
	// The buffer is off again after Run.
	if want := []string{"1000", "hrtimer0", "2000", "0", "1", "1", "0", "1"}; !slices.Equal(during, want) {
		t.Errorf("the device was set to %v; want %v", during, want)
	}
	for _, got := range blocks {
		if math.Abs(got.RateHz/1000-1) > 0.05 {
			t.Errorf("%s has rate %v Hz; want 1000", got.Channel, got.RateHz)
		}
		sign := 1.0
		if got.Channel == "z" {
			sign = -1
		}
		for i := 1; i < len(got.Samples); i++ {
			if step := (got.Samples[i] - got.Samples[i-1]) * sign; math.Abs(step-0.000038245) > 1e-9 {
				t.Fatalf("%s steps by %v m/s²; want one count of 0.000038245", got.Channel, step)
			}
		}
	}
}

// Unplugged and back under another number, found by its name.
func TestScalars_UnplugAndReturn(t *testing.T) {
	b := newBox(t)
	c := channel("t", "bme680", "in_temp", 0)
	c.Every = 5 * time.Millisecond
	s := source(t, b, c)
	base := filepath.Join(b.root, "sys/bus/iio/devices")
	blocks := collect(t, s, 100, func(done <-chan struct{}) {
		time.Sleep(100 * time.Millisecond)
		if err := os.Rename(filepath.Join(base, "iio:device1"), filepath.Join(b.root, "unplugged")); err != nil {
			t.Error(err)
		}
		for s.Stats().Devices[0].Errors < 2 {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
		if d := s.Stats().Devices[0]; !strings.Contains(d.LastError, "find IIO device bme680: there is iio:device0 (adxl355)") {
			t.Errorf("unplugged: %+v", d)
		}
		if err := os.Rename(filepath.Join(b.root, "unplugged"), filepath.Join(base, "iio:device7")); err != nil {
			t.Error(err)
		}
	})
	gaps := 0
	for _, b := range blocks {
		if b.Quality&sensors.QualityGap != 0 {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps flagged; want 1", gaps)
	}
}

func TestStart_Errors(t *testing.T) {
	for _, c := range []struct {
		change  func(*box)
		channel chips.Channel
		want    string
	}{
		{nil, channel("a", "nope", "in_temp", 0), "there is iio:device0 (adxl355), iio:device1 (bme680)"},
		{nil, channel("a", "twin", "in_temp", 0), "several are called so"},
		{nil, channel("a", "bme680", "in_current0", 0), "has neither in_current0_input nor in_current0_raw"},
		{nil, channel("a", "bme680", "in_power", 0), "has no in_power_scale; its raw values have no unit"},
		{nil, channel("a", "bme680", "in_temp", 100), "leave rate_hz out and use every"},
		{nil, channel("a", "adxl355", "in_accel_y", 1000), "element in_accel_y is not in the buffer; scan_elements has in_accel_x, in_accel_z"},
		{func(b *box) { b.write("sys/bus/iio/devices/iio:device1/in_temp_raw", "nan") }, channel("a", "bme680", "in_temp", 0), `"nan" is not a number`},
		{func(b *box) { b.write("sys/bus/iio/devices/iio:device0/scan_elements/in_accel_x_type", "le:f32/32>>0") },
			channel("a", "adxl355", "in_accel_x", 1000), `parse scan type "le:f32/32>>0"`},
		{func(b *box) { _ = os.Remove(filepath.Join(b.root, "dev/iio:device0")) }, channel("a", "adxl355", "in_accel_x", 1000), "udev rule"},
	} {
		b := newBox(t)
		if c.change != nil {
			c.change(b)
		}
		d, err := newDevice(b.root, []chips.Channel{c.channel})
		if err == nil {
			err = d.Driver.Start(nil)
		}
		if err == nil && c.channel.RateHz == 0 {
			var batch chips.Batch
			batch.Reset(1)
			err = d.Driver.Read(&batch)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v; want %q", c.channel.Device, c.channel.Element, err, c.want)
		}
	}
}

func TestNew_Refuses(t *testing.T) {
	for _, c := range []struct {
		change func(*chips.Channel)
		want   string
	}{
		{func(c *chips.Channel) { c.Element = "" }, "element is missing"},
		{func(c *chips.Channel) { c.Element = "in_temp_raw" }, "names a file; write in_temp"},
		{func(c *chips.Channel) { c.Element = "in_illuminance" }, `of type "illuminance", which cannot be used; choose from accel`},
		{func(c *chips.Channel) { c.Element = "in_temp/../x" }, "is none"},
		{func(c *chips.Channel) { c.Device = "../iio:device0" }, "without a path"},
		{func(c *chips.Channel) { c.Device = "" }, "device is missing"},
		{func(c *chips.Channel) { c.Chip = "adxl355" }, "chip: iio does not use it"},
		{func(c *chips.Channel) { c.Axis = "z" }, "axis: iio does not use it"},
		{func(c *chips.Channel) { c.RateHz, c.Every = 100, time.Second }, "leave one out"},
		{func(c *chips.Channel) { c.Unit, _ = sensors.ParseUnit("bar") }, "bar is a unit of pressure, but the channel measures temperature"},
		{func(c *chips.Channel) { c.Bus = chips.I2C }, `not made for "i2c"`},
	} {
		ch := channel("t", "bme680", "in_temp", 0)
		c.change(&ch)
		if _, err := New([]chips.Channel{ch}, Options{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
}
