package main

import (
	"context"
	"fmt"
)

// benchTraining measures what training on a gateway does to its prediction.
func benchTraining(ctx context.Context, r *results) error {
	figures, err := goBench(ctx, "./agent", "^BenchmarkTraining_Latency$", 1)
	if err != nil {
		return err
	}
	for _, which := range []string{"without", "with"} {
		var numbers [4]float64
		for i, unit := range []string{"p99-ms", "max-ms", "windows", "core-percent"} {
			if numbers[i], err = pick(figures, "Training_Latency/"+which, unit); err != nil {
				return err
			}
		}
		r.add("latency_p99_ms_"+which+"_training", numbers[0], "ms",
			fmt.Sprintf("from the block that closes a window to its score, %.1f ms at most in %.0f windows; 4 machines × 3 channels of 3.2 kHz in real time, %.1f %% of a core in all", numbers[1], numbers[2], numbers[3]))
	}
	return nil
}
