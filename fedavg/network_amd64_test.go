package fedavg

import "golang.org/x/sys/cpu"

func init() {
	if cpu.X86.HasAVX2 {
		allExchanges["AVX2"] = func(keys []int32, n []exchange) {
			if len(n) > 0 {
				exchangeAVX2(&keys[0], &n[0], len(n))
			}
		}
	}
}
