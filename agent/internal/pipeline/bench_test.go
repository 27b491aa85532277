package pipeline

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// vibrating is a machine that is scored, and a function that gives it one second of
// data: 3200 samples of vibration and one of temperature, which close one window.
func vibrating(tb testing.TB) (m *Machine, second func()) {
	tb.Helper()
	m, err := New(Config{
		Name: "pump-1", Class: "pump", Window: time.Second, Baseline: 20, MaxRecent: 100,
		Channels: map[string]sensors.Quantity{"vibration": sensors.Acceleration, "temperature": sensors.Temperature},
	}, noMemory{}, &deaf{}, "", alarm.State{}, quiet)
	if err != nil {
		tb.Fatal(err)
	}
	m.SetJobs([]job.Spec{{
		Name: "pumps", Class: "pump",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{
			{Channel: "vibration", Features: []string{
				"rms", "peak", "crest", "kurtosis", "skewness", "velocity_rms", "centroid", "band_rms_10_100", "band_rms_100_1000",
			}},
			{Channel: "temperature", Features: []string{"mean"}},
		}},
		Model: model.Spec{Kind: model.KindGaussian},
		Alarm: job.AlarmSpec{Baseline: 20},
	}}, nil, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	blocks := []sensors.Block{
		{Machine: "pump-1", Channel: "vibration", RateHz: 3200, Samples: make([]float64, 3200)},
		{Machine: "pump-1", Channel: "temperature", Samples: make([]float64, 1)},
	}
	second = func() {
		phase := rng.Float64()
		for i := range blocks[0].Samples {
			blocks[0].Samples[i] = math.Sin(2*math.Pi*(25*float64(i)/3200+phase)) + 0.1*rng.NormFloat64()
		}
		blocks[1].Samples[0] = 60 + 0.1*rng.NormFloat64()
		blocks[0].Start, blocks[1].Start = now, now
		now = now.Add(time.Second)
		m.batch(blocks)
	}
	for range 40 {
		second()
	}
	if st := m.Status(); st.State != infer.Running {
		tb.Fatalf("machine is %s", st.State)
	}
	return m, second
}

// deaf is a Listener that does nothing.
type deaf struct{}

func (*deaf) Scored(string, job.Spec, *infer.Output)             {}
func (*deaf) Alarm(string, job.Spec, *infer.Output, alarm.State) {}

// The hot path with a spectrum in it.
func TestMachine_AVibrationWindowAllocatesNothing(t *testing.T) {
	m, second := vibrating(t)
	before := m.Status().Windows
	n := testing.AllocsPerRun(50, second)
	if scored := m.Status().Windows - before; scored < 50 {
		t.Fatalf("only %d windows were scored", scored)
	}
	if n != 0 {
		t.Errorf("%v allocations a window", n)
	}
}

// BenchmarkMachine_Window measures one window from blocks to alarm state, the making
// of its 3200 samples included.
func BenchmarkMachine_Window(b *testing.B) {
	_, second := vibrating(b)
	b.ReportAllocs()
	b.SetBytes(3200 * 8)
	for b.Loop() {
		second()
	}
}
