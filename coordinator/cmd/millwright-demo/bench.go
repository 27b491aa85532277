package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/fedavg/cli"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	bin, out string
	messages int
	only     string
}

func newBenchCommand() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure speed and size of everything, each against this machine's own limits.",
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.bin, "bin", "build/bin", "`Folder` of the other commands.")
	f.StringVar(&o.out, "out", "build/bench.json", "Results as JSON.")
	f.IntVar(&o.messages, "messages", 200000, "Messages through a broker.")
	f.StringVar(&o.only, "only", "", "Measure only what this regular expression matches.")
	return cmd
}

// measurement is one line of bench.json.
type measurement struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	note  string
}

// results keeps the order in which things were measured.
type results struct{ list []measurement }

func (r *results) add(name string, value float64, unit, note string) {
	r.list = append(r.list, measurement{name, value, unit, note})
}

// measure measures, prints a table and writes bench.json. It judges nothing:
// machines differ, so the notes give ratios within this run.
func (o *benchOptions) measure(ctx context.Context, out io.Writer) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return cli.Usage(fmt.Errorf("--only: %w", err))
	}
	if err := absolute(&o.bin); err != nil {
		return err
	}
	var r results
	for _, step := range []struct {
		what string
		run  func(context.Context, *results) error
	}{
		{"aggregation", benchAggregation},
		{"strategies", benchStrategies},
		{"features", benchFeatures},
		{"windows on the gateway", benchWindows},
		{"training beside prediction", benchTraining},
		{"rounds", benchRounds},
		{"size and memory of the agent", o.benchAgent},
		{"messages through a broker to features and score", o.benchPipeline},
	} {
		if !only.MatchString(step.what) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s …\n", step.what)
		if err := step.run(ctx, &r); err != nil {
			return fmt.Errorf("measure %s: %w", step.what, err)
		}
	}
	r.write(out)
	data, err := json.MarshalIndent(r.list, "", "  ")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return os.WriteFile(o.out, append(data, '\n'), 0o644)
}

func (r *results) write(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range r.list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, human(m.Value), m.Unit, m.note)
	}
	w.Flush()
}

// human writes a number with the digits that mean something.
func human(x float64) string {
	switch {
	case x >= 1e9:
		return fmt.Sprintf("%.2f G", x/1e9)
	case x >= 1e6:
		return fmt.Sprintf("%.2f M", x/1e6)
	case x >= 1e4:
		return fmt.Sprintf("%.1f k", x/1e3)
	case x == float64(int64(x)):
		return fmt.Sprintf("%.0f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// goBench runs Go benchmarks of a package and returns, by benchmark and unit,
// the best of so many runs: the least disturbed one.
func goBench(ctx context.Context, pkg, pattern string, runs int) (map[string]map[string]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", "1s", "-count", strconv.Itoa(runs), pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s %s: %w\n%s", pattern, pkg, err, out)
	}
	best := map[string]map[string]float64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
		if best[name] == nil {
			best[name] = map[string]float64{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("read benchmark line %q: %w", strings.TrimSpace(line), err)
			}
			unit := fields[i+1]
			old, seen := best[name][unit]
			if !seen || (strings.HasSuffix(unit, "/s") && value > old) || (!strings.HasSuffix(unit, "/s") && value < old) {
				best[name][unit] = value
			}
		}
	}
	return best, nil
}

// pick returns one figure of goBench's.
func pick(figures map[string]map[string]float64, name, unit string) (float64, error) {
	v, ok := figures[name][unit]
	if !ok {
		return 0, fmt.Errorf("benchmark %s reported no %s", name, unit)
	}
	return v, nil
}

func benchAggregation(ctx context.Context, r *results) error {
	figures, err := goBench(ctx, "./fedavg", "^Benchmark(ReadBandwidth|WeightedMean)$", 3)
	if err != nil {
		return err
	}
	read, err := pick(figures, "ReadBandwidth", "MB/s")
	if err != nil {
		return err
	}
	mean, err := pick(figures, "WeightedMean", "MB/s")
	if err != nil {
		return err
	}
	r.add("read_bandwidth_bytes_per_s", read*1e6, "B/s", "this machine, all cores")
	r.add("accumulate_bytes_per_s", mean*1e6, "B/s", fmt.Sprintf("weighted mean of 100 × 1M float32: %.0f %% of the read bandwidth", 100*mean/read))
	return nil
}

// benchStrategies measures each strategy on updates in memory.
func benchStrategies(ctx context.Context, r *results) error {
	figures, err := goBench(ctx, "./fedavg", "^BenchmarkStrategy$", 1)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		parts := strings.Split(name, "/") // Strategy/name/agents x params
		rate, err := pick(figures, name, "MB/s")
		if err != nil {
			return err
		}
		allocs, err := pick(figures, name, "allocs/op")
		if err != nil {
			return err
		}
		memory, err := pick(figures, name, "B/op")
		if err != nil {
			return err
		}
		r.add(fmt.Sprintf("strategy_%s_%s_bytes_per_s", parts[1], parts[2]), rate*1e6, "B/s",
			fmt.Sprintf("%.0f allocations of %sB in all", allocs, human(memory)))
		if peak, told := figures[name]["peak-RSS-bytes"]; told {
			r.add(fmt.Sprintf("strategy_%s_%s_peak_rss_bytes", parts[1], parts[2]), peak, "B", "the updates in memory and the process among it")
		}
	}
	return nil
}

func benchFeatures(ctx context.Context, r *results) error {
	figures, err := goBench(ctx, "./sensors/features", "^Benchmark(ExtractAll3200|VibrationSet10?s)$", 3)
	if err != nil {
		return err
	}
	rate, err := pick(figures, "ExtractAll3200", "samples/s")
	if err != nil {
		return err
	}
	r.add("features_samples_per_s", rate, "samples/s", fmt.Sprintf("every time and spectrum feature, one core: %.0f channels of 3.2 kHz", rate/3200))
	for _, seconds := range []int{10, 1} {
		full, err := pick(figures, fmt.Sprintf("VibrationSet%ds", seconds), "samples/s")
		if err != nil {
			return err
		}
		r.add(fmt.Sprintf("vibration_set_%ds_samples_per_s", seconds), full, "samples/s",
			fmt.Sprintf("time, spectrum, orders, envelope, bearing lines and kurtogram in windows of %d s, one core: %.0f channels of 25.6 kHz", seconds, full/25600))
	}
	return nil
}

func benchRounds(ctx context.Context, r *results) error {
	figures, err := goBench(ctx, "./coordinator", "^BenchmarkRound3x10k$", 3)
	if err != nil {
		return err
	}
	ms, err := pick(figures, "Round3x10k", "ms/round")
	if err != nil {
		return err
	}
	r.add("round_overhead_ms", ms, "ms", "3 agents × 10k parameters, mutual TLS and durable store, beyond training")
	return nil
}

func benchWindows(ctx context.Context, r *results) error {
	figures, err := goBench(ctx, "./agent/internal/pipeline", "^BenchmarkMachine_Window$", 3)
	if err != nil {
		return err
	}
	allocs, err := pick(figures, "Machine_Window", "allocs/op")
	if err != nil {
		return err
	}
	r.add("window_allocs", allocs, "allocs", "from a block to features, score and alarm state, a window")
	return nil
}
