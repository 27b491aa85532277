package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
)

// top writes the numbers of largest magnitude of vectors plus residual: how
// many; the distance of each from the one before, over all vectors; and their
// values as a run of halves. It returns what is left: the numbers that are not written and
// what rounding took from the others (Stich et al. 2018, arXiv 1809.07599,
// algorithm 1).
func (b *body) top(vectors []fedavg.Vector, o Options) ([]fedavg.Vector, error) {
	share := o.Share
	if share == 0 {
		share = defaultShare
	}
	if !(share > 0 && share <= 0.5) {
		return nil, fmt.Errorf("share %v of the numbers; it must be above 0 and at most 0.5", share)
	}
	layout := fedavg.LayoutOf(vectors)
	residual := layout.New()
	if o.Residual != nil {
		if err := layout.Check(o.Residual); err != nil {
			return nil, fmt.Errorf("residual: %w", err)
		}
	}
	var magnitudes []uint32
	for k, v := range vectors {
		for i, x := range v.F32 {
			if o.Residual != nil {
				x += o.Residual[k].F32[i]
			}
			if x-x != 0 {
				return nil, fmt.Errorf("residual: %w", &fedavg.ValueError{Vector: v.Name, Index: i, Value: float64(x)})
			}
			residual[k].F32[i] = x
			magnitudes = append(magnitudes, math.Float32bits(x)&^(1<<31))
		}
	}
	most := int(math.Ceil(share * float64(len(magnitudes))))
	least := threshold(slices.Clone(magnitudes), most)
	equals := most // how many of exactly the threshold still find room
	for _, m := range magnitudes {
		if m > least {
			equals--
		}
	}
	var gaps []byte
	var values []float32
	var taken []*float32
	at, last := 0, -1
	for _, v := range residual {
		for i := range v.F32 {
			m := magnitudes[at]
			if m == least && m > 0 && equals > 0 {
				equals--
			} else if m <= least {
				at++
				continue
			}
			gaps = binary.AppendUvarint(gaps, uint64(at-last))
			values, taken = append(values, v.F32[i]), append(taken, &v.F32[i])
			last = at
			at++
		}
	}
	b.data = append(binary.AppendUvarint(b.data, uint64(len(values))), gaps...)
	b.cut()
	from := len(b.data)
	b.halves([]fedavg.Vector{{F32: values}})
	sent := make([]float32, len(values))
	r := &reader{data: b.data[from:]}
	readHalves(r, []fedavg.Vector{{F32: sent}})
	for i, x := range taken {
		*x -= sent[i]
	}
	return residual, r.err
}

// threshold returns the k-th largest of x, k ≥ 1, and reorders x (Hoare's
// quickselect with the median of three).
func threshold(x []uint32, k int) uint32 {
	at := len(x) - k
	for len(x) > 1 {
		a, b, c := x[0], x[len(x)/2], x[len(x)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := 0, len(x)-1
		for i <= j {
			for x[i] < pivot {
				i++
			}
			for x[j] > pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case at <= j:
			x = x[:j+1]
		case at >= i:
			x, at = x[i:], at-i
		default:
			return x[at]
		}
	}
	return x[0]
}

var errOrder = errors.New("positions are not increasing or beyond the end")

func readTop(r *reader, vectors []fedavg.Vector) {
	size := fedavg.LayoutOf(vectors).Size()
	n := r.uvarint()
	if n > uint64(size) || n > uint64(len(r.data)) { // each takes a byte at least
		r.fail("%d numbers of %d, in %d bytes", n, size, len(r.data))
		return
	}
	positions := make([]int, n)
	last := -1
	for i := range positions {
		gap := r.uvarint()
		if gap == 0 || gap > uint64(size-1-last) {
			r.fail("%w", errOrder)
			return
		}
		last += int(gap)
		positions[i] = last
	}
	values := make([]float32, n)
	readHalves(r, []fedavg.Vector{{F32: values}})
	k, start := 0, 0
	for i, at := range positions {
		for at-start >= len(vectors[k].F32) {
			start += len(vectors[k].F32)
			k++
		}
		vectors[k].F32[at-start] = values[i]
	}
}
