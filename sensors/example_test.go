package sensors_test

import (
	"context"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/features"
	"github.com/millwright-iot/millwright/sensors/synth"
	"github.com/millwright-iot/millwright/sensors/window"
)

// From a source to feature vectors: a generated pump whose bearing begins to
// fail after 30 seconds. Any other Source takes its place without a change.
func Example() {
	pump, err := synth.New(synth.Config{
		Name: "pump-1", Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Duration: time.Minute,
		Faults: []synth.Fault{{Kind: synth.OuterRace, Begins: 30 * time.Second, Severity: 0.5}},
	})
	if err != nil {
		panic(err)
	}
	windows, err := window.New("pump-1", window.Spec{Window: 10 * time.Second, Channels: []string{"vibration", "temperature"}})
	if err != nil {
		panic(err)
	}
	extractor, err := features.New([]features.ChannelSpec{
		{Channel: "vibration", Quantity: sensors.Acceleration, Features: []string{"rms", "kurtosis"}},
		{Channel: "temperature", Quantity: sensors.Temperature, Features: []string{"mean"}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(extractor.Names())
	var vector []float64
	err = pump.Run(context.Background(), func(b sensors.Block) error {
		if b.Channel == synth.Pressure {
			return nil
		}
		return windows.Add(b, func(w *window.Window) error {
			vector, err = extractor.Extract(vector, w)
			if err == nil {
				fmt.Printf("%s  %.1f\n", w.Start.Format("15:04:05"), vector)
			}
			return err
		})
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// [vibration.rms vibration.kurtosis temperature.mean]
	// 00:00:00  [0.3 2.8 41.8]
	// 00:00:10  [0.3 2.8 41.7]
	// 00:00:20  [0.3 2.8 41.7]
	// 00:00:30  [1.7 4.4 41.9]
	// 00:00:40  [1.7 4.3 42.3]
	// 00:00:50  [1.7 4.4 42.7]
}
