package model

import (
	"context"
	"math"
)

// crossEntropy is the loss of a classifier.
type crossEntropy struct {
	net    *network
	rows   [][]float64
	truth  []int
	train  []int // rows to train on
	hold   []int // rows to fit the temperature to
	weight []float64
	decay  float64
	p      []float64
}

// newCrossEntropy trains on all rows but every temperatureEvery-th.
func newCrossEntropy(net *network, rows [][]float64, truth []int, decay float64) *crossEntropy {
	classes := len(net.layers[len(net.layers)-1].output)
	l := &crossEntropy{net: net, rows: rows, truth: truth, weight: make([]float64, classes), decay: decay, p: make([]float64, classes)}
	for r := range rows {
		if r%temperatureEvery == temperatureEvery-1 {
			l.hold = append(l.hold, r)
		} else {
			l.train = append(l.train, r)
		}
	}
	for i := range l.weight {
		l.weight[i] = 1
	}
	return l
}

// shares are the classes' shares of the rows.
func (l *crossEntropy) shares(classes int) []float64 {
	s := make([]float64, classes)
	for _, y := range l.truth {
		s[y] += 1 / float64(len(l.truth))
	}
	return s
}

// balance weighs classes inversely to their share in the fleet, so that the mean
// weight of the fleet's rows is 1; before the first round it is not known.
func (l *crossEntropy) balance(fleet fleetState) {
	if !(fleet.rounds > 0) {
		return
	}
	present, total := 0.0, 0.0
	for _, s := range fleet.shares {
		if s > 0 {
			present++
			total += s
		}
	}
	for i, s := range fleet.shares {
		if total > 0 {
			l.weight[i] = 1 / (present * max(s/total, leastShare))
		}
	}
}

// gradient implements objective; r counts rows to train on.
func (l *crossEntropy) gradient(grad []float64, r int) {
	r = l.train[r]
	x, y := l.rows[r], l.truth[r]
	softmax(l.p, l.net.forward(x), 1)
	last := &l.net.layers[len(l.net.layers)-1]
	for o, p := range l.p {
		last.delta[o] = l.weight[y] * p
	}
	last.delta[y] -= l.weight[y]
	l.net.descend(grad, x)
	at := 0
	for i := range l.net.layers {
		layer := &l.net.layers[i]
		axpy(grad[at:at+len(layer.weight)], l.decay, layer.weight)
		at += len(layer.weight) + len(layer.bias)
	}
}

// mean is the mean cross entropy per row, and the share of rows whose likeliest
// class is the true one.
func (l *crossEntropy) mean(ctx context.Context) (loss, right float64, err error) {
	n := float64(len(l.rows))
	for r, z := range l.rows {
		if r%256 == 0 && ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		logits := l.net.forward(z)
		loss += crossEntropyOf(logits, l.truth[r], 1) / n
		if largest(logits) == l.truth[r] {
			right += 1 / n
		}
	}
	return loss, right, nil
}

// temperature returns ln T that makes the cross entropy of softmax(logits/T) least
// on the rows held (C. Guo et al., On calibration of modern neural networks, ICML
// 2017, section 4.2), by golden section in ln T. A penalty of (ln T)², the loss of about
// one row, keeps it near 1 where there are few rows or all are right.
func (l *crossEntropy) temperature(ctx context.Context) (float64, error) {
	hold := l.hold
	if len(hold) == 0 {
		return 0, nil
	}
	k := len(l.p)
	logits := make([]float64, len(hold)*k)
	flat := true
	for i, r := range hold {
		if i%256 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		out := l.net.forward(l.rows[r])
		copy(logits[i*k:], out)
		for _, x := range out {
			flat = flat && x == out[0]
		}
	}
	if flat { // every temperature is as good
		return 0, nil
	}
	at := func(logT float64) float64 {
		s := logT * logT
		for i, r := range hold {
			s += crossEntropyOf(logits[i*k:(i+1)*k], l.truth[r], math.Exp(logT))
		}
		return s
	}
	const ratio = 0.6180339887498949
	lo, hi := -float64(maxLogT), float64(maxLogT)
	a, b := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	fa, fb := at(a), at(b)
	for hi-lo > 1e-4 {
		if fa < fb {
			hi, b, fb = b, a, fa
			a = hi - ratio*(hi-lo)
			fa = at(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + ratio*(hi-lo)
			fb = at(b)
		}
	}
	return (lo + hi) / 2, ctx.Err()
}

// softmax writes exp(x/t)/Σ into dst.
func softmax(dst, logits []float64, t float64) {
	top, sum := logits[largest(logits)], 0.0
	for i, x := range logits {
		dst[i] = math.Exp((x - top) / t)
		sum += dst[i]
	}
	for i := range dst {
		dst[i] /= sum
	}
}

// crossEntropyOf is −ln of softmax(logits/t) at y.
func crossEntropyOf(logits []float64, y int, t float64) float64 {
	top, sum := logits[largest(logits)], 0.0
	for _, x := range logits {
		sum += math.Exp((x - top) / t)
	}
	return math.Log(sum) + (top-logits[y])/t
}

// largest is the index of the largest element, the first of equal ones.
func largest(xs []float64) int {
	best := 0
	for i, x := range xs {
		if x > xs[best] {
			best = i
		}
	}
	return best
}
