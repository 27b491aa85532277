package coordinator

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc/rpctest"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// BenchmarkRound3x10k measures what a round costs beyond training: three gateways
// over loopback with mutual TLS, a model of 10,010 float64 parameters (80 kB), the
// bbolt store on disk. A round is announcement, three downloads, three updates made
// durable, aggregation, commit and release; agents train in no time.
func BenchmarkRound3x10k(b *testing.B) {
	spec := pumpJob("pump")
	names := make([]string, 138)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	spec.Features.Channels = []job.ChannelFeatures{{Channel: "vibration", Features: names}}
	spec.Rounds = job.RoundPolicy{Every: 1, MinParticipants: 3, Deadline: time.Minute, Count: b.N}
	cfg := testConfig(spec)
	cfg.DataDir = b.TempDir()
	st := openBolt(b, cfg.DataDir)
	defer st.Close()
	r := runCoordinator(b, cfg, st)
	size := r.c.jobs[0].layout.Size()
	if size < 9_500 || size > 10_500 {
		b.Fatalf("the model has %d parameters; change the number of features so that they are about 10,000", size)
	}
	gateways := map[string]*rpctest.Gateway{}
	for _, name := range []string{"a", "b", "c"} {
		gateways[name] = r.enrol(name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	b.ResetTimer()
	for name, g := range gateways {
		wg.Go(func() {
			if err := serve(ctx, g, spec, learnedBy(r.c, name)); ctx.Err() == nil {
				b.Errorf("gateway %s: %v", name, err)
			}
			g.Close()
		})
	}
	s := r.waitFor("all rounds", func(s fleet.Snapshot) bool { return s.Jobs[0].Done })
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/round")
	seconds := 0.0
	for _, round := range s.Rounds {
		seconds += round.Seconds
	}
	b.ReportMetric(seconds/float64(len(s.Rounds))*1000, "ms/announce-to-commit")
	b.ReportMetric(float64(size), "parameters")
	cancel()
	wg.Wait()
	r.stop()
}
