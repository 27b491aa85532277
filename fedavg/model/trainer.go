package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millwright-iot/millwright/fedavg"
)

// Adam's constants (Kingma & Ba, arXiv 1412.6980, algorithm 1).
const (
	adamBeta1   = 0.9
	adamBeta2   = 0.999
	adamEpsilon = 1e-8
	// clipNorm bounds a batch's gradient, so that one wild row cannot fill Adam's
	// moments for the rest of the round.
	clipNorm = 5
)

// descent says how a network is trained.
type descent struct {
	BatchSize    int
	LearningRate float64
	Proximal     float64 // FedProx μ
}

// objective is what a trainer makes small, over rows numbered from 0.
type objective interface {
	// gradient adds to grad, laid out as the network's params, that of row r's loss.
	gradient(grad []float64, r int)
}

// trainer trains a network in place. All its memory is allocated at the start.
type trainer struct {
	net        *network
	spec       descent
	rand       *rand.Rand
	start      []float64 // the global parameters
	grad       []float64
	m, v       []float64 // Adam's moments
	pow1, pow2 float64   // β₁ᵗ, β₂ᵗ
	order      []int

	plain   bool     // gradient descent instead of Adam
	control *control // of SCAFFOLD, or nil
	steps   float64  // made so far
}

func newTrainer(net *network, spec descent, options TrainOptions, control *control) *trainer {
	n := len(net.params)
	t := &trainer{
		net: net, spec: spec, rand: rand.New(rand.NewPCG(options.Seed, 0x74726169)),
		start: append([]float64(nil), net.params...),
		grad:  make([]float64, n), m: make([]float64, n), v: make([]float64, n), pow1: 1, pow2: 1,
		plain: options.PlainSGD, control: control,
	}
	if options.Proximal > 0 {
		t.spec.Proximal = options.Proximal
	}
	if options.RateFactor > 0 {
		t.spec.LearningRate *= options.RateFactor
	}
	return t
}

// effectiveSteps is the a of FedNova for gradient descent: the number of steps,
// or, since a proximal term fades what a step did, Σ (1−ημ)ᵗ over them (Wang et al. 2020,
// arXiv 2007.07481, section 4.1). It is 0 for Adam.
func (t *trainer) effectiveSteps() float64 {
	if !t.plain {
		return 0
	}
	fade := float64(t.spec.LearningRate * t.spec.Proximal)
	if fade == 0 {
		return t.steps
	}
	return (1 - math.Pow(1-fade, t.steps)) / fade
}

// epoch passes once over n rows in a random order.
func (t *trainer) epoch(ctx context.Context, n int, loss objective) error {
	if len(t.order) != n {
		t.order = make([]int, n)
		for i := range t.order {
			t.order[i] = i
		}
	}
	t.rand.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	for left := t.order; len(left) > 0; {
		n := min(t.spec.BatchSize, len(left))
		clear(t.grad)
		for i, r := range left[:n] {
			if i%256 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			loss.gradient(t.grad, r)
		}
		t.step(n)
		left = left[n:]
	}
	return nil
}

// step applies the gradient summed over n rows.
func (t *trainer) step(n int) {
	norm := 0.0
	for i, g := range t.grad {
		g = g/float64(n) + float64(t.spec.Proximal*(t.net.params[i]-t.start[i]))
		t.grad[i] = g
		norm += float64(g * g)
	}
	scale := 1.0
	if norm = math.Sqrt(norm); norm > clipNorm {
		scale = clipNorm / norm
	}
	t.steps++
	if t.plain {
		t.descend(scale)
		return
	}
	t.pow1 *= adamBeta1
	t.pow2 *= adamBeta2
	for i, g := range t.grad {
		g *= scale
		t.m[i] = float64(adamBeta1*t.m[i]) + float64((1-adamBeta1)*g)
		t.v[i] = float64(adamBeta2*t.v[i]) + float64((1-adamBeta2)*float64(g*g))
		m, v := t.m[i]/(1-t.pow1), t.v[i]/(1-t.pow2)
		t.net.params[i] -= float64(t.spec.LearningRate * m / (math.Sqrt(v) + adamEpsilon))
	}
}

// descend makes one step along the gradient, corrected by the control variates:
// y ← y − η(g − c_k + c) (SCAFFOLD, algorithm 1).
func (t *trainer) descend(scale float64) {
	for i, g := range t.grad {
		g *= scale
		if c := t.control; c != nil {
			g += c.server[i] - c.own[i]
		}
		t.net.params[i] -= float64(t.spec.LearningRate * g)
	}
}

// deltas returns by how much the parameters changed, in layout, of which the last
// vector is none to train and left 0.
func (t *trainer) deltas(layout fedavg.Layout) ([]fedavg.Vector, error) {
	deltas, at := layout.New(), 0
	for _, v := range deltas[:len(deltas)-1] {
		for i := range v.F32 {
			v.F32[i] = float32(t.net.params[at] - t.start[at])
			if x := v.F32[i]; x-x != 0 {
				return nil, fmt.Errorf("%s[%d] became %v: lower the learning rate, %g", v.Name, i, x, t.spec.LearningRate)
			}
			at++
		}
	}
	return deltas, nil
}
