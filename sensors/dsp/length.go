// Package dsp holds the signal processing that features are made from: the squared
// envelope of frequency bands, its lines at the frequencies of bearing faults, the
// kurtogram, and order tracking. Everything works on plain slices, reuses its buffers
// and allocates only when a size grows.
package dsp

// GoodLength returns the largest number up to n whose prime factors are 2, 3 and 5,
// for which the transform is fast; between 1000 and 100000 that costs at most one
// sample in 16, and on average one in 100. It is 0 for n < 1.
func GoodLength(n int) int {
	best := 0
	for p5 := 1; p5 <= n; p5 *= 5 {
		for p3 := p5; p3 <= n; p3 *= 3 {
			p2 := p3
			for p2 <= n/2 {
				p2 *= 2
			}
			best = max(best, p2)
			if p3 > n/3 {
				break
			}
		}
		if p5 > n/5 {
			break
		}
	}
	return best
}

// nextGoodLength returns the smallest such number from n on; n ≥ 1.
func nextGoodLength(n int) int {
	for m := n; ; m++ {
		k := m
		for _, p := range [3]int{2, 3, 5} {
			for k%p == 0 {
				k /= p
			}
		}
		if k == 1 {
			return m
		}
	}
}

// grow returns xs with length n, keeping its memory if that is enough.
func grow[T any](xs []T, n int) []T {
	if cap(xs) < n {
		return make([]T, n)
	}
	return xs[:n]
}
