// Package model holds the models that Millwright federates.
//
// A [Family] knows how one kind of model is initialised, trained on local
// feature vectors and loaded for scoring. Models see standardised feature
// vectors z = (x − mean)/std, where mean and std are the machine's own
// [Baseline] and never leave the gateway.
//
// Remaining life is another matter: what counts is how a machine differs from the
// fleet, so there mean and std are the fleet's, from merged sums: of each
// operating condition ([Conditions]) and of each feature ([ScaleSums]). A
// [Regressor] predicts, [Intervals] say how sure it is. Package prognosis joins them.
package model

import (
	"context"

	"github.com/millwright-iot/millwright/fedavg"
)

// Learning says how the updates of a family are merged.
type Learning uint8

const (
	// Gradient families send parameter deltas: the round's mean delta is added
	// to the global parameters.
	Gradient Learning = iota + 1
	// Statistics families send sums: the global parameters are the sum over
	// participants, exact in one round.
	Statistics
)

// Family is one kind of model for vectors of a fixed number of features.
// A Family is immutable and safe for concurrent use.
type Family interface {
	// Learning says how updates merge.
	Learning() Learning
	// ParamLayout is the layout of the global parameters, and of updates to them.
	ParamLayout() fedavg.Layout
	// Init returns the parameters of version 0, the same for the same seed.
	Init(seed uint64) []fedavg.Vector
	// Train learns from sets, one per local machine, rows of standardised
	// feature vectors, starting at the global parameters. It does not keep or
	// modify either. It returns ctx's error as soon as ctx ends.
	Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error)
	// Load makes a Model of the parameters; parameters that have learned
	// nothing yet are ErrUntrained.
	Load(params []fedavg.Vector) (Model, error)
}

// Set is what one machine offers for training.
type Set struct {
	Machine string
	Rows    [][]float64 // standardised, oldest first, all finite
	// Targets are what was true at each row, finite; only supervised families want them.
	Targets []float64
}

// Trained is the result of local training.
type Trained struct {
	Vectors []fedavg.Vector    // in ParamLayout: deltas or sums; with a ServerControl, in fedavg.Scaffold's UpdateLayout
	Weight  float64            // number of rows learned from
	Metrics map[string]float64 // at least "loss": mean loss per row under the global parameters received
	// Steps is for fedavg.Update.Steps: how many steps of plain gradient descent
	// were made, the effective number if there is a proximal term; 0 otherwise.
	Steps float64
	// OwnControl is the agent's next control variate, to be kept once the update
	// is counted; nil without a ServerControl.
	OwnControl []fedavg.Vector
}

// Model scores standardised feature vectors. It holds scratch space: one
// goroutine at a time.
type Model interface {
	// Score returns how unusual z is, ≥ 0 and finite for finite z.
	Score(z []float64) float64
	// Contributions writes into dst (nil allocates) how much each feature adds
	// to the square of Score(z): each is ≥ 0, they sum to it, and the largest is
	// the reason for the score.
	Contributions(dst, z []float64) []float64
}
