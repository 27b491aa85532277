package model

import (
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/fedavg"
)

// TrainOptions says how to train. Only families that learn by gradient know more
// than the seed.
type TrainOptions struct {
	Seed uint64 // of the order of rows; the same seed, data and parameters give the same update
	// Proximal, if above 0, replaces the μ of the model's settings (FedProx).
	Proximal float64
	// RateFactor, if above 0, multiplies the learning rate of the model's settings.
	RateFactor float64
	// PlainSGD trains by plain gradient descent instead of Adam, at the same
	// learning rate, so that Trained.Steps means what FedNova takes it for.
	PlainSGD bool
	// ServerControl and OwnControl are SCAFFOLD's control variates c, the state
	// that came with the global model, and c_k, Trained.OwnControl of the last
	// round whose update was counted. ServerControl nil: no SCAFFOLD; OwnControl
	// nil: zero, as in an agent's first round. ServerControl needs PlainSGD.
	ServerControl, OwnControl []fedavg.Vector
}

// Plain refuses options of gradient descent, for families without.
func (o TrainOptions) Plain() error {
	if o.Proximal != 0 || o.RateFactor != 0 || o.PlainSGD || o.ServerControl != nil || o.OwnControl != nil {
		return errors.New("options of gradient descent do not apply to statistics; choose another strategy")
	}
	return nil
}

// control is the correction of one agent's gradients.
type control struct {
	layout      fedavg.Layout // of control variates
	server, own []float64     // c and c_k, one element per parameter
}

// newControl reads the control variates for parameters of layout, of which the
// last vector is none to train. It returns nil if o has none.
func newControl(o TrainOptions, layout fedavg.Layout) (*control, error) {
	if o.ServerControl == nil {
		if o.OwnControl != nil {
			return nil, errors.New("there is a control variate of the agent, but none of the server")
		}
		return nil, nil
	}
	if !o.PlainSGD {
		return nil, errors.New("control variates correct plain gradient descent only; set PlainSGD")
	}
	c := &control{layout: fedavg.Scaffold{}.StateLayout(layout)}
	var err error
	if c.server, err = c.flat(o.ServerControl); err != nil {
		return nil, fmt.Errorf("control variate of the server: %w", err)
	}
	own := o.OwnControl
	if own == nil {
		own = c.layout.New()
	}
	if c.own, err = c.flat(own); err != nil {
		return nil, fmt.Errorf("control variate of the agent: %w", err)
	}
	return c, nil
}

func (c *control) flat(vs []fedavg.Vector) ([]float64, error) {
	if err := c.layout.Check(vs); err != nil {
		return nil, err
	}
	var flat []float64
	for _, v := range vs[:len(vs)-1] {
		for i, x := range v.F32 {
			if x-x != 0 {
				return nil, &fedavg.ValueError{Vector: v.Name, Index: i, Value: float64(x)}
			}
			flat = append(flat, float64(x))
		}
	}
	return flat, nil
}

// next returns c_k⁺ = c_k − c + (x−y)/(Kη) for K steps at rate η that took the
// parameters from x to y, and its difference from c_k (SCAFFOLD, algorithm 1, option II).
func (c *control) next(x, y []float64, steps, rate float64) (own, change []fedavg.Vector) {
	own, change = c.layout.New(), c.layout.New()
	at := 0
	for k, v := range own[:len(own)-1] {
		for i := range v.F32 {
			v.F32[i] = float32(c.own[at] - c.server[at] + (x[at]-y[at])/(steps*rate))
			change[k].F32[i] = float32(float64(v.F32[i]) - c.own[at])
			at++
		}
	}
	return own, change
}
