package onewiresource

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/onewire"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/hostbus"
)

// Two thermometers by way of the kernel's files: one good, one whose line is
// disturbed; then the good one is unplugged and comes back.
func TestSource(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		dir := filepath.Join(root, "sys/bus/w1/devices", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "w1_slave"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const good = "70 01 4b 46 7f ff 10 10 e1 : crc=e1 YES\n70 01 4b 46 7f ff 10 10 e1 t=23000\n"
	write("28-0316a2794bff", good)
	write("28-000000000001", "70 01 4b 46 7f ff 10 10 e2 : crc=e1 NO\n")
	open := func() (onewire.BusCloser, error) {
		b, err := hostbus.Host{Root: root}.OpenOneWire()
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	channel := func(name, device string) chips.Channel {
		return chips.Channel{Machine: "m", Channel: name, Options: chips.Options{Wiring: chips.Wiring{Bus: chips.OneWire, Device: device, Chip: "ds18b20"}}}
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := New([]chips.Channel{channel("a", "28-0316A2794BFF"), channel("b", "28-000000000001")}, Options{Open: open}, slog.New(slog.DiscardHandler))
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
		if err := os.RemoveAll(filepath.Join(root, "sys/bus/w1/devices/28-0316a2794bff")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		st := s.Stats()
		if d := st.Devices[0]; d.Up || !strings.Contains(d.LastError, "there is 28-000000000001") {
			t.Errorf("unplugged: %+v", d)
		}
		if d := st.Devices[1]; d.Starts != 0 || !strings.Contains(d.LastError, "checksum of scratchpad 70 01") {
			t.Errorf("disturbed: %+v", d)
		}
		write("28-0316a2794bff", good)
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		gaps := 0
		for _, b := range blocks {
			if b.Channel != "a" || b.Samples[0] != 23 {
				t.Errorf("%s is %v", b.Channel, b.Samples)
			}
			if b.Quality&sensors.QualityGap != 0 {
				gaps++
			}
		}
		if len(blocks) < 15 || gaps != 1 {
			t.Errorf("%d values, %d gaps flagged; want one a second but for the outage, flagged once", len(blocks), gaps)
		}
	})
}

func TestNew_Refuses(t *testing.T) {
	for device, want := range map[string]string{
		"10-0316a2794bff": "family code 10; a ds18b20 has 28",
		"28-1":            "is no 1-Wire device",
	} {
		_, err := New([]chips.Channel{{Machine: "m", Channel: "a", Options: chips.Options{Wiring: chips.Wiring{Bus: chips.OneWire, Device: device, Chip: "ds18b20"}}}}, Options{}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", device, err, want)
		}
	}
}
