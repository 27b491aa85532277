package fedavg

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// benchUpdates makes n updates of p small random deltas, each array its own
// allocation as decoded updates have.
func benchUpdates(n, p int) []*Update {
	r := rand.New(rand.NewPCG(1, 2))
	us := make([]*Update, n)
	for k := range us {
		x := make([]float32, p)
		for i := range x {
			x[i] = float32(r.NormFloat64() * 0.01)
		}
		us[k] = &Update{Agent: fmt.Sprint("agent-", k), Weight: float64(100 + k), Vectors: []Vector{{Name: "w", F32: x}}}
	}
	return us
}

const (
	benchClients = 100
	benchParams  = 1_000_000
)

var sink uint64

// readAll reads every update once, by as many goroutines as there are processors,
// joined eight bytes at a time.
func readAll(us []*Update) (sum uint64) {
	workers := runtime.GOMAXPROCS(0)
	sums := make([]uint64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var s0, s1, s2, s3 uint64
			for _, u := range us {
				x := words(u.Vectors[0].F32)
				x = x[len(x)*w/workers : len(x)*(w+1)/workers]
				for len(x) >= 8 {
					s0 += x[0] ^ x[4]
					s1 += x[1] ^ x[5]
					s2 += x[2] ^ x[6]
					s3 += x[3] ^ x[7]
					x = x[8:]
				}
			}
			sums[w] = s0 + s1 + s2 + s3
		})
	}
	wg.Wait()
	for _, s := range sums {
		sum += s
	}
	return sum
}

// BenchmarkReadBandwidth is what BenchmarkWeightedMean can at best reach: the
// same arrays read, once each.
func BenchmarkReadBandwidth(b *testing.B) {
	us := benchUpdates(benchClients, benchParams)
	b.SetBytes(4 * benchClients * benchParams)
	for b.Loop() {
		sink += readAll(us)
	}
}

// BenchmarkWeightedMean is FedAvg of 100 updates of a million float32 each, in
// bytes of updates per second. After each one it reads the same arrays and
// nothing else: "of-read" is the fastest read over the fastest mean, so that a
// busy machine slows both.
func BenchmarkWeightedMean(b *testing.B) {
	us := Slice(benchUpdates(benchClients, benchParams))
	global := LayoutOf(us[0].Vectors).New()
	b.SetBytes(4 * benchClients * benchParams)
	mean, read := time.Duration(1<<62), time.Duration(1<<62)
	for b.Loop() {
		start := time.Now()
		if _, err := (FedAvg{}).Aggregate(global, nil, us); err != nil {
			b.Fatal(err)
		}
		mean = min(mean, time.Since(start))
		b.StopTimer()
		start = time.Now()
		sink += readAll(us)
		read = min(read, time.Since(start))
		b.StartTimer()
	}
	gigabytes := 4 * benchClients * benchParams / 1e9
	b.ReportMetric(gigabytes/mean.Seconds(), "best-GB/s")
	b.ReportMetric(gigabytes/read.Seconds(), "read-GB/s")
	b.ReportMetric(read.Seconds()/mean.Seconds(), "of-read")
}

// BenchmarkAddAll is the same without making the accumulator and the mean, all
// updates in one call.
func BenchmarkAddAll(b *testing.B) {
	us := benchUpdates(benchClients, benchParams)
	a, err := NewAccumulator(LayoutOf(us[0].Vectors))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4 * benchClients * benchParams)
	for b.Loop() {
		if err := a.AddAll(us...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAdd adds one update at a time, as they arrive.
func BenchmarkAdd(b *testing.B) {
	us := benchUpdates(16, benchParams)
	a, err := NewAccumulator(LayoutOf(us[0].Vectors))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4 * benchParams)
	for i := 0; b.Loop(); i++ {
		if err := a.Add(us[i%len(us)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSum adds statistics: 100 updates of 100,000 float64.
func BenchmarkSum(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	us := make(Slice, 100)
	for k := range us {
		x := make([]float64, 100_000)
		for i := range x {
			x[i] = r.NormFloat64() * 1000
		}
		us[k] = &Update{Weight: 1, Vectors: []Vector{{Name: "s", F64: x}}}
	}
	global := LayoutOf(us[0].Vectors).New()
	b.SetBytes(8 * 100 * 100_000)
	for b.Loop() {
		if _, err := (Sum{}).Aggregate(global, nil, us); err != nil {
			b.Fatal(err)
		}
	}
}
