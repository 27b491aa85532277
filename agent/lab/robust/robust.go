// Package robust measures what lying gateways do to a federation, and what the
// robust strategies and the verification of updates do against it: one small task
// on generated data, all gateways in one process.
package robust

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/fedavg/job"
)

// Config sizes the federation. DefaultConfig is what the table in the
// documentation was made with.
type Config struct {
	Gateways  int    // honest and lying
	Attackers int    // how many of them lie, fewer than half
	Rounds    int    // each gateway takes part in every one
	Seed      uint64 // of the data, the training and the attacks
}

// DefaultConfig returns 24 gateways of which 4 lie, as many as Bulyan withstands,
// for 8 rounds.
func DefaultConfig() Config { return Config{Gateways: 24, Attackers: 4, Rounds: 8, Seed: 1} }

// Result is the table: for each attack, how well the federation's model classifies
// rows that no gateway has seen.
type Result struct {
	Config
	Strategies []string `json:"strategies"`
	Rows       []Row    `json:"rows"`
	// Lookalike tells why label-flipped gateways are not caught.
	Lookalike Lookalike `json:"lookalike"`
}

// Row is one attack.
type Row struct {
	Attack string `json:"attack"`
	Help   string `json:"help"`
	Cells  []Cell `json:"cells"` // by strategy, as Result.Strategies
}

// Cell is one attack against one strategy.
type Cell struct {
	Without Outcome `json:"without_verification"`
	With    Outcome `json:"with_verification"`
}

// Outcome is what became of one federation.
type Outcome struct {
	Accuracy float64 `json:"accuracy"` // 0..1; guessing gives 1 of 4
	MacroF1  float64 `json:"macro_f1"` // mean over classes
	// Lost is how many rounds came to nothing because the updates could not be
	// aggregated.
	Lost int `json:"lost_rounds"`
	// Caught and Wronged are how many attackers and honest gateways are in
	// quarantine in the end. Without verification nobody is.
	Caught  int `json:"caught"`
	Wronged int `json:"wronged"`
}

// strategies are the columns.
func strategies(attackers int) []job.StrategySpec {
	return []job.StrategySpec{
		{Name: job.NameFedAvg},
		{Name: job.NameMedian},
		{Name: job.NameTrimmedMean, Trim: 0.2},
		{Name: job.NameGeometricMedian},
		{Name: job.NameKrum, Byzantine: attackers},
		{Name: job.NameMultiKrum, Byzantine: attackers},
		{Name: job.NameBulyan, Byzantine: attackers},
	}
}

// Run runs a federation for each attack, strategy, and with and without
// verification. The same Config gives the same Result.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if cfg.Gateways < 4 || cfg.Attackers < 1 || 2*cfg.Attackers >= cfg.Gateways || cfg.Rounds < 1 {
		return Result{}, fmt.Errorf("set up federation: %d gateways, %d attackers and %d rounds; at least 4 gateways are needed, of which fewer than half lie, and 1 round",
			cfg.Gateways, cfg.Attackers, cfg.Rounds)
	}
	world := newWorld(cfg)
	columns := strategies(cfg.Attackers)
	result := Result{Config: cfg}
	for _, s := range columns {
		result.Strategies = append(result.Strategies, s.Name)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, a := range attacks() {
		row := Row{Attack: a.name, Help: a.help, Cells: make([]Cell, len(columns))}
		result.Rows = append(result.Rows, row)
		for c, s := range columns {
			group.Go(func() (err error) {
				if row.Cells[c].Without, err = world.federate(ctx, a, s, false); err != nil {
					return err
				}
				row.Cells[c].With, err = world.federate(ctx, a, s, true)
				return err
			})
		}
	}
	group.Go(func() (err error) { result.Lookalike, err = lookalike(ctx, cfg); return err })
	if err := group.Wait(); err != nil {
		return Result{}, err
	}
	return result, nil
}
