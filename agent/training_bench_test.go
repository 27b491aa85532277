package agent

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// A gateway with four machines, each with three accelerometers at 3.2 kHz that send ten
// blocks a second, and a window of a second closed by each.
const (
	latencyMachines = 4
	latencyHz       = 3200
	latencyEvery    = 100 * time.Millisecond
	latencyFor      = 20 * time.Second
)

var latencyAxes = []string{"x", "y", "z"}

// stopwatch is a Listener that measures from the offer of a block to the score.
type stopwatch struct {
	mu      sync.Mutex
	offered map[string]time.Time
	took    []time.Duration
}

func (s *stopwatch) Scored(machine string, _ job.Spec, out *infer.Output) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.offered[machine]; ok && out.State == infer.Running {
		s.took = append(s.took, time.Since(at))
	}
}

func (s *stopwatch) Alarm(string, job.Spec, *infer.Output, alarm.State) {}

// BenchmarkTraining_Latency measures from the block that closes a window to its score,
// in real time, without and with training beside it at the default share of a core, a run
// after the other. It takes its time whatever -benchtime says.
func BenchmarkTraining_Latency(b *testing.B) {
	for _, training := range []bool{false, true} {
		name := "without"
		if training {
			name = "with"
		}
		b.Run(name, func(b *testing.B) {
			watch := &stopwatch{offered: map[string]time.Time{}}
			ctx, stop := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer stop()
			machines := latencyRig(b, ctx, &wg, watch)
			trained := 0
			began, used := time.Now(), processTime(b)
			if training {
				spec, f, sets := trainable(b, model.KindAutoencoder, 30, latencyMachines, 5000)
				wg.Go(func() {
					for ctx.Err() == nil {
						if _, err := trainAside(ctx, float64(DefaultConfig().Training.CPU)/100, f, f.Init(spec.Seed), sets, model.TrainOptions{Seed: 1}); err == nil {
							trained++
						}
					}
				})
			}
			feedInRealTime(machines, watch, latencyFor)
			work, took := processTime(b)-used, time.Since(began)
			stop()
			wg.Wait()
			slices.Sort(watch.took)
			n := len(watch.took)
			if n < latencyMachines*int(latencyFor/latencyEvery)/2 {
				b.Fatalf("only %d windows were scored", n)
			}
			milli := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(milli(watch.took[n*99/100]), "p99-ms")
			b.ReportMetric(milli(watch.took[n-1]), "max-ms")
			b.ReportMetric(milli(watch.took[n/2]), "p50-ms")
			b.ReportMetric(100*work.Seconds()/took.Seconds(), "core-percent")
			b.ReportMetric(float64(n), "windows")
			b.ReportMetric(float64(trained), "trainings")
		})
	}
}

// latencyRig starts machines that are scored.
func latencyRig(b *testing.B, ctx context.Context, wg *sync.WaitGroup, watch *stopwatch) []*pipeline.Machine {
	channels := map[string]sensors.Quantity{}
	spec := job.Spec{
		Name: "bench", Class: "bench", Features: job.FeatureSpec{Window: time.Second, Hop: latencyEvery},
		Model: model.Spec{Kind: model.KindGaussian}, Alarm: job.AlarmSpec{Baseline: 30},
	}
	for _, axis := range latencyAxes {
		channels[axis] = sensors.Acceleration
		spec.Features.Channels = append(spec.Features.Channels, job.ChannelFeatures{Channel: axis, Features: []string{
			"rms", "peak", "crest", "kurtosis", "skewness", "velocity_rms", "centroid", "band_rms_10_100", "band_rms_100_1000", "entropy"}})
	}
	var machines []*pipeline.Machine
	for i := range latencyMachines {
		m, err := pipeline.New(pipeline.Config{
			Name: "m" + strconv.Itoa(i), Class: "bench", Window: time.Second, Baseline: 30, Channels: channels,
		}, forgetful{}, watch, "", alarm.State{}, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		m.SetJobs([]job.Spec{spec}, nil, nil)
		if why := m.Status().Unserved; len(why) > 0 {
			b.Fatal(why)
		}
		machines = append(machines, m)
	}
	rng, now := rand.New(rand.NewPCG(1, 1)), time.Now().Add(-time.Hour)
	for range 60 { // the baseline, as fast as it goes
		for _, m := range machines {
			for _, block := range latencyBlocks(m.Name(), now, rng) {
				m.Process(block)
			}
		}
		now = now.Add(latencyEvery)
	}
	for _, m := range machines {
		if st := m.Status(); st.State != infer.Running {
			b.Fatalf("machine %s is %s", st.Name, st.State)
		}
		wg.Go(func() { _ = m.Run(ctx) })
	}
	return machines
}

func latencyBlocks(machine string, at time.Time, rng *rand.Rand) []sensors.Block {
	blocks := make([]sensors.Block, len(latencyAxes))
	for k, axis := range latencyAxes {
		xs := make([]float64, int(latencyHz*latencyEvery/time.Second))
		for i := range xs {
			xs[i] = math.Sin(2*math.Pi*25*float64(i)/latencyHz) + 0.1*rng.NormFloat64()
		}
		blocks[k] = sensors.Block{Machine: machine, Channel: axis, Start: at, RateHz: latencyHz, Samples: xs}
	}
	return blocks
}

// feedInRealTime offers blocks in real time.
func feedInRealTime(machines []*pipeline.Machine, watch *stopwatch, length time.Duration) {
	rng, at := rand.New(rand.NewPCG(2, 2)), time.Now()
	tick := time.NewTicker(latencyEvery)
	defer tick.Stop()
	for range int(length / latencyEvery) {
		for _, m := range machines {
			blocks := latencyBlocks(m.Name(), at, rng)
			for k, block := range blocks {
				if k == len(blocks)-1 { // the one that closes the window
					watch.mu.Lock()
					watch.offered[m.Name()] = time.Now()
					watch.mu.Unlock()
				}
				m.Offer(block)
			}
		}
		at = at.Add(latencyEvery)
		<-tick.C
	}
}
