package fedavg

import "errors"

// ErrNoUpdates says that a round has nothing to aggregate.
var ErrNoUpdates = errors.New("aggregate: no updates")

// Updates are the updates of one round, wherever they are kept. A strategy may
// go through them several times.
type Updates interface {
	// Len is the number of updates Each yields.
	Len() int
	// Each calls fn with every update, in the same order each time, and returns
	// the first error, its own or fn's. fn may keep an update, unmodified, until
	// Each returns; a strategy keeps at most a small constant number, so that
	// memory stays O(parameters).
	Each(fn func(*Update) error) error
}

// Slice is Updates held in memory.
type Slice []*Update

// Len implements Updates.
func (s Slice) Len() int { return len(s) }

// Each implements Updates.
func (s Slice) Each(fn func(*Update) error) error {
	for _, u := range s {
		if err := fn(u); err != nil {
			return err
		}
	}
	return nil
}

// Result is what a round's updates amount to.
type Result struct {
	Vectors      []Vector // the next global parameters; share no memory with the inputs
	Weight       float64  // sum of the participants' weights
	Participants int
	Metrics      map[string]float64 // mean by weight over the participants that report each
	Data         string             // sum of their data digests, see Global.Data
	// State is what the strategy must be given in the next round; nil if it keeps
	// none. It shares no memory with the inputs.
	State []Vector
}

// Strategy makes the next global parameters of the present ones and of one
// round's updates. The same updates give the same result, bit for bit, in any
// order. It modifies none of its inputs and is safe for concurrent use.
type Strategy interface {
	// UpdateLayout is the layout that updates to parameters of layout params have.
	// It is params itself, except for strategies that agents tell more.
	UpdateLayout(params Layout) Layout
	// StateLayout is the layout of what the strategy keeps from one round to the
	// next for parameters of layout params: momentum, for example. Nil if nothing.
	StateLayout(params Layout) Layout
	// Aggregate returns the next global parameters and the next state. Updates
	// must fit UpdateLayout of global's layout. One that does not, or that holds
	// NaN or Inf, fails the whole call with an *UpdateError that names its agent;
	// none at all is ErrNoUpdates. state is Result.State of the round before, nil in the
	// first one; a strategy without state ignores it.
	Aggregate(global, state []Vector, updates Updates) (Result, error)
}

// UpdateError says whose update could not be counted.
type UpdateError struct {
	Agent string
	Err   error
}

func (e *UpdateError) Error() string {
	return "count update of agent \"" + e.Agent + "\": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *UpdateError) Unwrap() error { return e.Err }

// FedAvg adds the mean of the updates' deltas, weighted by Update.Weight, to the
// global parameters: x ← x + Σ n_k Δ_k / Σ n_k (McMahan et al. 2017,
// arXiv 1602.05629, Algorithm 1, in the form of deltas).
type FedAvg struct{}

// Sum replaces the global parameters by the sum of the updates' vectors, which
// are sufficient statistics: the result equals that of one fit over all
// participants' rows.
type Sum struct{}
