package fedavg

import "errors"

// Aggregate implements Strategy.
func (FedAvg) Aggregate(global []Vector, updates Updates) (Result, error) {
	return Result{}, errors.New("not built yet")
}

// Aggregate implements Strategy.
func (Sum) Aggregate(global []Vector, updates Updates) (Result, error) {
	return Result{}, errors.New("not built yet")
}
