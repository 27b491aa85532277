package fedavg

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// benchStrategies are all that merge gradients, with what a job would give them.
func benchStrategies(n int) []struct {
	name     string
	strategy Strategy
} {
	f := (n - 3) / 10
	return []struct {
		name     string
		strategy Strategy
	}{
		{"FedAvg", FedAvg{}}, {"FedAvgM", FedAvgM{1, 0.9}}, {"FedAdagrad", FedAdagrad{0.1, 1e-3}}, {"FedAdam", FedAdam{0.1, 0.9, 0.99, 1e-3}},
		{"FedYogi", FedYogi{0.01, 0.9, 0.99, 1e-3}}, {"Scaffold", Scaffold{Rate: 1}}, {"FedNova", FedNova{}}, {"FedBuff", FedBuff{1}},
		{"Median", Median{}}, {"TrimmedMean", TrimmedMean{0.1}}, {"Krum", Krum{f}}, {"MultiKrum", MultiKrum{f, 0}}, {"Bulyan", Bulyan{f}},
		{"GeometricMedian", GeometricMedian{}},
	}
}

// BenchmarkStrategy is one round of each strategy, in bytes of updates per second, with
// the memory resident at most (Linux only), which the updates themselves are part of.
func BenchmarkStrategy(b *testing.B) {
	for _, size := range []struct{ agents, params int }{{100, 1_000_000}, {1000, 10_000}} {
		plain := benchUpdates(size.agents, size.params)
		global := LayoutOf(plain[0].Vectors).New()
		for _, s := range benchStrategies(size.agents) {
			b.Run(fmt.Sprintf("%s/%dx%d", s.name, size.agents, size.params), func(b *testing.B) {
				us := make(Slice, len(plain))
				for i, u := range plain {
					c := *u
					c.Steps = float64(10 + i%7)
					c.Vectors = u.Vectors
					if len(s.strategy.UpdateLayout(LayoutOf(global))) > 1 { // the deltas, for control variates too
						c.Vectors = append(c.Vectors[:1:1], Vector{Name: "control." + u.Vectors[0].Name, F32: u.Vectors[0].F32})
					}
					us[i] = &c
				}
				b.SetBytes(4 * int64(size.agents) * int64(LayoutOf(us[0].Vectors).Size()))
				b.ReportAllocs()
				round := func() {
					if _, err := s.strategy.Aggregate(global, nil, us); err != nil {
						b.Fatal(err)
					}
				}
				peak := watchMemory()
				round() // one: many in a row leave as much garbage as there are updates
				bytes := peak()
				for b.Loop() {
					round()
				}
				if bytes > 0 {
					b.ReportMetric(float64(bytes), "peak-RSS-bytes")
				}
			})
		}
	}
}

// watchMemory gives free memory back to the system and returns what tells how much
// was resident at most since then; 0 where the system does not say (see proc(5)).
func watchMemory() (peak func() int64) {
	debug.FreeOSMemory()
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return func() int64 { return 0 }
	}
	return func() int64 {
		status, _ := os.ReadFile("/proc/self/status") // what cannot be read says nothing below
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, _ := strconv.ParseInt(kib, 10, 64)
		return n << 10
	}
}
