package fedavg_test

import (
	"fmt"

	"github.com/millwright-iot/millwright/fedavg"
)

// Two plants trained the same model; one has seen twice as many rows.
func Example() {
	global := []fedavg.Vector{{Name: "weights", F32: []float32{0, 10}}}
	updates := fedavg.Slice{
		{Agent: "plant-a", Weight: 100, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{1, 0}}}, Metrics: map[string]float64{"loss": 0.5}},
		{Agent: "plant-b", Weight: 200, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{4, -1.5}}}, Metrics: map[string]float64{"loss": 0.2}},
	}
	next, err := fedavg.FedAvg{}.Aggregate(global, nil, updates)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v from %d participants, loss %.2f\n", next.Vectors[0].F32, next.Participants, next.Metrics["loss"])
	// Output: [3 9] from 2 participants, loss 0.30
}

// A strategy with state is given it back in the next round.
func ExampleFedAvgM() {
	x := []fedavg.Vector{{Name: "weights", F32: []float32{0}}}
	var state []fedavg.Vector
	for range 3 {
		next, err := fedavg.FedAvgM{Rate: 1, Momentum: 0.5}.Aggregate(x, state, fedavg.Slice{
			{Agent: "plant-a", Weight: 100, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{1}}}},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		x, state = next.Vectors, next.State
		fmt.Println(x[0].F32, state[0].F32)
	}
	// Output:
	// [1] [1]
	// [2.5] [1.5]
	// [4.25] [1.75]
}

// One gateway in four lies; its update is a million times too large.
func ExampleTrimmedMean() {
	global := []fedavg.Vector{{Name: "weights", F32: []float32{0}}}
	var updates fedavg.Slice
	for i, x := range []float32{1, 2, 3, 1e6} {
		updates = append(updates, &fedavg.Update{Agent: fmt.Sprint("plant-", i), Weight: 1, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{x}}}})
	}
	next, err := fedavg.TrimmedMean{Trim: 0.25}.Aggregate(global, nil, updates)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(next.Vectors[0].F32)
	// Output: [2.5]
}

// Sums made in two places, one of them carried over as bytes, are the sums of all.
func ExampleAccumulator() {
	layout := fedavg.Layout{{Name: "weights", DType: fedavg.Float32, Len: 2}}
	sum := func(updates ...*fedavg.Update) *fedavg.Accumulator {
		a, err := fedavg.NewAccumulator(layout)
		if err != nil {
			panic(err)
		}
		if err := a.AddAll(updates...); err != nil {
			panic(err)
		}
		return a
	}
	north := sum(&fedavg.Update{Weight: 1, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{0.1, 1}}}})
	south := sum(&fedavg.Update{Weight: 3, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{0.5, 5}}}})

	data, err := south.MarshalBinary()
	if err != nil {
		panic(err)
	}
	var arrived fedavg.Accumulator
	if err := arrived.UnmarshalBinary(data); err != nil {
		panic(err)
	}
	if err := north.Merge(&arrived); err != nil {
		panic(err)
	}
	mean, err := north.Mean(nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(north.Count(), north.Weight(), mean[0].F32)
	// Output: 2 4 [0.4 4]
}

// An update that cannot be counted says why, and changes nothing.
func ExampleAccumulator_Add() {
	a, err := fedavg.NewAccumulator(fedavg.Layout{{Name: "weights", DType: fedavg.Float32, Len: 3}})
	if err != nil {
		panic(err)
	}
	fmt.Println(a.Add(&fedavg.Update{Weight: 1, Vectors: []fedavg.Vector{{Name: "weights", F32: []float32{1, 2}}}}))
	fmt.Println(a.Count())
	// Output:
	// vectors do not fit the job's layout: weights: got 2, want 3
	// 0
}
