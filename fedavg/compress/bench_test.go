package compress

import (
	"fmt"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

// BenchmarkEncode and BenchmarkDecode take an update of a million numbers, in
// bytes of float32 per second; "bytes/number" is what is left of the 4.
func BenchmarkEncode(b *testing.B) {
	each(b, func(b *testing.B, u *fedavg.Update, m Method, data []byte) {
		for b.Loop() {
			if _, _, err := Encode(u, m, Options{Seed: 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	each(b, func(b *testing.B, u *fedavg.Update, m Method, data []byte) {
		layout := fedavg.LayoutOf(u.Vectors)
		for b.Loop() {
			if _, err := Decode(data, layout); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func each(b *testing.B, run func(b *testing.B, u *fedavg.Update, m Method, data []byte)) {
	for _, n := range []int{10_000, 1_000_000} {
		u := normal(n, 1)
		size := fedavg.LayoutOf(u.Vectors).Size()
		for _, m := range Methods() {
			data, _ := encodeT(b, u, m, Options{Seed: 1})
			b.Run(fmt.Sprintf("%s/%d", m, n), func(b *testing.B) {
				b.SetBytes(4 * int64(size))
				b.ReportAllocs()
				run(b, u, m, data)
				b.ReportMetric(float64(len(data))/float64(size), "bytes/number")
			})
		}
	}
}
