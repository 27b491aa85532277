package model

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// Load implements Family. The Model is a Classifier.
func (f *softmaxFamily) Load(params []fedavg.Vector) (Model, error) {
	net, fleet, err := f.network(params)
	if err != nil {
		return nil, fmt.Errorf("load softmax: %w", err)
	}
	if !(fleet.rounds > 0) {
		return nil, ErrUntrained
	}
	return &classifier{family: f, net: net, t: math.Exp(fleet.logT), p: make([]float64, len(f.spec.Classes)), z: make([]float64, f.features)}, nil
}

type classifier struct {
	family *softmaxFamily
	net    *network
	t      float64 // temperature
	p, z   []float64
}

// Classes implements Classifier.
func (c *classifier) Classes() []string { return c.family.spec.Classes }

// Probabilities implements Classifier.
func (c *classifier) Probabilities(dst, z []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(c.p))
	}
	logits := c.net.forward(z)
	for i, x := range logits {
		logits[i] = finite(x)
	}
	softmax(dst, logits, c.t)
	return dst
}

// Classify implements Classifier.
func (c *classifier) Classify(z []float64) (string, float64) {
	c.Probabilities(c.p, z)
	i := largest(c.p)
	if c.p[i] < c.family.spec.Unknown {
		return UnknownClass, c.p[i]
	}
	return c.family.spec.Classes[i], c.p[i]
}

// Score is the probability that something is wrong, 1 less that of the healthy
// class; if no class is, how unsure the answer is, 1 less the largest probability.
func (c *classifier) Score(z []float64) float64 {
	c.Probabilities(c.p, z)
	i := c.family.healthy
	if i < 0 {
		i = largest(c.p)
	}
	return max(0, 1-c.p[i])
}

// Contributions shares out the square of Score by how much the score changes when
// one feature takes its mean, 0.
func (c *classifier) Contributions(dst, z []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(z))
	}
	at, total := c.Score(z), 0.0
	copy(c.z, z)
	for i, x := range z {
		c.z[i] = 0
		dst[i] = math.Abs(c.Score(c.z) - at)
		c.z[i] = x
		total += dst[i]
	}
	for i := range dst {
		if total > 0 {
			dst[i] *= at * at / total
		} else { // no single feature moves it
			dst[i] = at * at / float64(len(dst))
		}
	}
	return dst
}
