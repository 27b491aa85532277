package ads1115

import (
	"math"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

func unit(t testing.TB, symbol string) sensors.Unit {
	t.Helper()
	u, err := sensors.ParseUnit(symbol)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// loop is a pressure transmitter of 0 to 10 bar over 100 Ω.
func loop(t testing.TB) chips.Options {
	low, high := 0.0, 10.0
	return chips.Options{Wiring: chips.Wiring{Input: "ain1", ShuntOhm: 100, At4mA: &low, At20mA: &high, Unit: unit(t, "bar")}}
}

func cfg(v uint16) []byte { return []byte{0x01, byte(v >> 8), byte(v)} }

func reg(r byte, v uint16) i2ctest.IO {
	return i2ctest.IO{W: []byte{r}, R: []byte{byte(v >> 8), byte(v)}}
}

// Config register of SBAS444E: MUX 100 is AIN0, 101 AIN1; PGA 010 is ±2.048 V, 001
// ±4.096 V; MODE 1; DR 100; COMP_QUE 11.
const (
	ain0 = 0b0_100_010_1_100_0_0_0_11
	ain1 = 0b0_101_001_1_100_0_0_0_11
	go1  = 1 << 15
)

func TestDriver_TwoInputs(t *testing.T) {
	volts, current := chips.Options{}, loop(t)
	d := chiptest.Driver(t, Model(), volts, current)
	if q := d.Plan().Quantities; q[0] != sensors.Voltage || q[1] != sensors.Pressure {
		t.Errorf("quantities are %v", q)
	}
	chiptest.Start(t, d, chiptest.I2C(t, 0x48,
		i2ctest.IO{W: cfg(ain0)}, reg(1, ain0|go1),
		i2ctest.IO{W: cfg(ain0 | go1)},
		reg(1, ain0), // still converting
		reg(1, ain0|go1), reg(0, 0x4000), i2ctest.IO{W: cfg(ain1 | go1)},
		reg(1, ain1|go1), reg(0, 9600),
		i2ctest.IO{W: cfg(ain0 | go1)}, reg(1, 0x8583), // forgotten after a loss of power
	))
	if b := chiptest.Read(t, d); b.Again != 9*time.Millisecond {
		t.Errorf("after starting: again in %v", b.Again)
	}
	if b := chiptest.Read(t, d); b.Again != time.Millisecond || len(b.Values[0]) != 0 {
		t.Errorf("while converting: again in %v, %v", b.Again, b.Values)
	}
	// 4000h is half of the full scale ("Data Format").
	if b := chiptest.Read(t, d); len(b.Values[0]) != 1 || b.Values[0][0] != 1.024 || len(b.Values[1]) != 0 || b.Again != 9*time.Millisecond {
		t.Errorf("first input: %v, again in %v", b.Values, b.Again)
	}
	// 9600 · 4.096 V / 32768 is 1.2 V, over 100 Ω 12 mA, half way: 5 bar.
	if b := chiptest.Read(t, d); len(b.Values[1]) != 1 || math.Abs(b.Values[1][0]-5e5) > 1e-6 || b.Again != time.Second-18*time.Millisecond {
		t.Errorf("second input: %v, again in %v", b.Values, b.Again)
	}
	chiptest.Read(t, d)
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "config is 0x0583") {
		t.Errorf("after a loss of power: %v", err)
	}
}

// NAMUR NE 43: a failure under 3.6 and over 21 mA, saturated under 3.8 and over 20.5.
func TestInput_LoopLevels(t *testing.T) {
	in, err := newInput(loop(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mA      float64
		bar     float64
		clipped bool
		fault   string
	}{
		{0, 0, false, "loop current 0.00 mA is under 3.6 mA"}, {3.55, 0, false, "broken wire"}, {3.65, -0.21875, true, ""}, {3.85, -0.09375, false, ""},
		{4, 0, false, ""}, {8, 2.5, false, ""}, {20, 10, false, ""}, {20.45, 10.28125, false, ""}, {20.6, 10.375, true, ""},
		{20.95, 10.59375, true, ""}, {21.05, 0, false, "short circuit"}, {-1, 0, false, "under 3.6 mA"},
	} {
		code := int16(math.Round(c.mA / 1000 * 100 / 4.096 * 32768))
		v, clipped, err := in.value(code)
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v mA: %v; want %q", c.mA, err, c.fault)
			}
		case err != nil || clipped != c.clipped || math.Abs(v/1e5-c.bar) > 0.001: // 0.8 mbar a code
			t.Errorf("%v mA: %v bar, clipped %v, %v; want %v, %v", c.mA, v/1e5, clipped, err, c.bar, c.clipped)
		}
	}
}

// Input codes and ideal values of the data sheet, "Data Format", at ±2.048 V.
func TestInput_Codes(t *testing.T) {
	in, err := newInput(chips.Options{Wiring: chips.Wiring{Input: "ain0-ain1"}})
	if err != nil || in.mux != 0 {
		t.Fatalf("mux %d, %v", in.mux, err)
	}
	for _, c := range []struct {
		code    int16
		want    float64
		clipped bool
	}{{0x7FFF, 2.0479375, true}, {1, 62.5e-6, false}, {0, 0, false}, {-1, -62.5e-6, false}, {-0x8000, -2.048, true}} {
		if v, clipped, err := in.value(c.code); err != nil || math.Abs(v-c.want) > 1e-12 || clipped != c.clipped {
			t.Errorf("code %#04x: %v V, clipped %v, %v; want %v, %v", uint16(c.code), v, clipped, err, c.want, c.clipped)
		}
	}
	if in, err = newInput(chips.Options{Wiring: chips.Wiring{ShuntOhm: 0.1, RangeV: 0.256}}); err != nil || in.quantity != sensors.Current {
		t.Errorf("a shunt: %v, %v", in.quantity, err)
	} else if v, _, _ := in.value(12800); math.Abs(v-1) > 1e-12 {
		t.Errorf("0.1 V over 0.1 Ω are %v A; want 1", v)
	}
}

func TestStart_NotThere(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{})
	if err := d.Start(chiptest.I2C(t, 0x48, i2ctest.IO{W: cfg(ain0)}, reg(1, 0xFFFF))); err == nil || !strings.Contains(err.Error(), "config is 0x7fff") {
		t.Errorf("another chip: %v", err)
	}
	if err := d.Start(chiptest.I2C(t, 0x48)); err == nil || !strings.Contains(err.Error(), "set up ads1115") {
		t.Errorf("no chip: %v", err)
	}
}

func TestModel_Refuses(t *testing.T) {
	ok := loop(t)
	for _, c := range []struct {
		change func(*chips.Options)
		want   string
	}{
		{func(o *chips.Options) { o.At20mA = nil }, "give both or neither"},
		{func(o *chips.Options) { o.ShuntOhm = 0 }, "shunt_ohm is missing"},
		{func(o *chips.Options) { o.Unit = sensors.Unit{} }, "unit is missing"},
		{func(o *chips.Options) { o.At20mA = o.At4mA }, "both are 0"},
		{func(o *chips.Options) { o.ShuntOhm, o.RangeV = 150, 2.048 }, "is 13.7 mA; choose a larger range"},
		{func(o *chips.Options) { o.RangeV = 5 }, "range_v: 5 is not possible; choose from [6.144"},
		{func(o *chips.Options) { o.Input = "ain4" }, `input: unknown "ain4"`},
		{func(o *chips.Options) { o.At4mA, o.At20mA = nil, nil }, "unit: bar is a unit of pressure, but the channel measures current"},
		{func(o *chips.Options) { o.Every = 10 * time.Millisecond }, "too short for 1 inputs"},
	} {
		o := ok
		c.change(&o)
		if _, err := Model().Configure([]chips.Options{o}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
}

func FuzzValue(f *testing.F) {
	f.Add(int16(9600), 100.0, -1.0, 10.0)
	f.Fuzz(func(t *testing.T, code int16, ohm, low, high float64) {
		o := chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, Device: "I2C1", ShuntOhm: ohm, At4mA: &low, At20mA: &high, Unit: unit(t, "bar")}}
		if Model().Check(o) != nil {
			return
		}
		in, err := newInput(o)
		if err != nil {
			return
		}
		v, _, fault := in.value(code)
		if mA := float64(code) * in.fullV / 32768 / ohm * 1000; (mA < 3.6 || mA > 21) != (fault != nil) || math.IsNaN(v) {
			t.Errorf("%v mA: %v, %v", mA, v, fault)
		}
	})
}
