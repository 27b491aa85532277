//go:build !amd64

package fedavg

func exchangeAllFast(keys []int32, network []exchange) { exchangeAll(keys, network) }

func toKeysFast(dst []int32, x []float32) uint32 { return toKeys(dst, x) }

func sumKeysFast(sums *[lanes]float64, keys []int32) { sumKeys(sums, keys) }

func squaresFast(a0, a1, b0, b1 []float64, out *[4]float64) { squares(a0, a1, b0, b1, out) }
