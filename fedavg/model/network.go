package model

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// network is a dense network with tanh hidden layers and a linear output, with
// the scratch that one goroutine needs to run it.
type network struct {
	layers []layer
	params []float64 // of all layers, one after the other
}

// layer is y = act(Wx + b). W is out×in, row by row.
type layer struct {
	in, out       int
	weight, bias  []float64 // views of network.params
	output, delta []float64 // activation and loss gradient before activation
}

func newNetwork(widths []int) *network {
	n := &network{layers: make([]layer, len(widths)-1)}
	size := 0
	for i := range n.layers {
		size += widths[i+1] * (widths[i] + 1)
	}
	n.params = make([]float64, size)
	for i := range n.layers {
		in, out := widths[i], widths[i+1]
		n.layers[i] = layer{in: in, out: out, output: make([]float64, out), delta: make([]float64, out)}
	}
	n.view(n.params, func(l *layer, weight, bias []float64) { l.weight, l.bias = weight, bias })
	return n
}

// view calls each with every layer's part of flat, which is laid out as params.
func (n *network) view(flat []float64, each func(l *layer, weight, bias []float64)) {
	for i := range n.layers {
		l := &n.layers[i]
		w := l.in * l.out
		each(l, flat[:w:w], flat[w:w+l.out:w+l.out])
		flat = flat[w+l.out:]
	}
}

// set takes the parameters from vectors that have been checked to fit, in the order
// of params; one that is not finite is a *fedavg.ValueError.
func (n *network) set(vectors []fedavg.Vector) error {
	at := 0
	for _, v := range vectors {
		for i, x := range v.F32 {
			if x-x != 0 {
				return &fedavg.ValueError{Vector: v.Name, Index: i, Value: float64(x)}
			}
			n.params[at] = float64(x)
			at++
		}
	}
	return nil
}

// forward returns the output for x, valid until the next call.
func (n *network) forward(x []float64) []float64 {
	last := len(n.layers) - 1
	for i := range n.layers {
		l := &n.layers[i]
		for o := range l.output {
			s := l.bias[o] + dot(l.weight[o*l.in:(o+1)*l.in], x)
			if i < last {
				s = math.Tanh(s)
			}
			l.output[o] = s
		}
		x = l.output
	}
	return x
}

// backward adds to grad, laid out as params, the gradient of the mean squared
// error between target and the output of the forward pass just made with x.
func (n *network) backward(grad, x, target []float64) {
	last := &n.layers[len(n.layers)-1]
	for o, y := range last.output {
		last.delta[o] = 2 * (y - target[o]) / float64(len(target))
	}
	n.descend(grad, x)
}

// descend adds to grad the gradient of a loss whose gradient before the output is the
// last layer's delta, for the forward pass just made with x.
func (n *network) descend(grad, x []float64) {
	end := len(grad)
	for i := len(n.layers) - 1; i >= 0; i-- {
		l := &n.layers[i]
		input := x
		if i > 0 {
			input = n.layers[i-1].output
		}
		gw := grad[end-l.out-l.in*l.out : end-l.out]
		gb := grad[end-l.out : end]
		end -= l.out * (l.in + 1)
		for o, d := range l.delta {
			gb[o] += d
			axpy(gw[o*l.in:(o+1)*l.in], d, input)
		}
		if i > 0 {
			n.propagate(i)
		}
	}
}

// propagate computes delta of layer i−1 from that of layer i; tanh' = 1 − tanh².
func (n *network) propagate(i int) {
	l, below := &n.layers[i], &n.layers[i-1]
	clear(below.delta)
	for o, d := range l.delta {
		axpy(below.delta, d, l.weight[o*l.in:(o+1)*l.in])
	}
	for k, y := range below.output {
		below.delta[k] *= 1 - float64(y*y)
	}
}

// meanSquaredError is Σ(y−z)²/len(z).
func meanSquaredError(y, z []float64) float64 {
	s := 0.0
	for i, x := range y {
		d := x - z[i]
		s += float64(d * d)
	}
	return s / float64(len(z))
}

func dot(a, b []float64) float64 {
	b = b[:len(a)]
	s := 0.0
	for i, x := range a {
		s += float64(x * b[i])
	}
	return s
}

// axpy is dst += a·x.
func axpy(dst []float64, a float64, x []float64) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += float64(a * x[i])
	}
}
