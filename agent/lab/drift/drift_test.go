package drift

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Every process has about the mean and the standard deviation it promises, or the table
// would compare what cannot be compared.
func TestProcesses_AreStandard(t *testing.T) {
	for _, p := range Processes() {
		value := p.New(rand.New(rand.NewPCG(1, 9)))
		n, sum, squares := 100*168, 0.0, 0.0
		for hour := range n {
			x := value(float64(hour))
			sum += x
			squares += x * x
		}
		mean := sum / float64(n)
		std := math.Sqrt(squares/float64(n) - mean*mean)
		if math.Abs(mean) > 0.5 || std < 0.9 || std > 1.1 {
			t.Errorf("%s has mean %.2f and standard deviation %.2f", p.Name, mean, std)
		}
	}
}

// What the gateway uses finds two standard deviations within a week or two, in any of
// the runs; KSWIN at the settings of its paper does sooner.
func TestDelay(t *testing.T) {
	delays := map[string]float64{}
	for _, m := range monitors {
		if d := delay(m.new, 2); d != nil {
			delays[m.name] = *d
		}
	}
	if !(delays["gateway"] > 10 && delays["gateway"] < 200) || !(delays["kswin"] > 1 && delays["kswin"] < delays["gateway"]) {
		t.Errorf("delays are %v h", delays)
	}
	if d := delay(monitors[3].new, 0); d != nil {
		t.Errorf("no drift is found after %v h", *d)
	}
}

func TestFeatures_FindsNothing(t *testing.T) {
	if n := features(Processes()[0], 0.002); n > 0 {
		t.Errorf("%d features drift that do not", n)
	}
}

func TestMeasure_Refuses(t *testing.T) {
	if _, err := Measure(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "at least 1") {
		t.Errorf("zero years: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestReport_WriteTable(t *testing.T) {
	hours := 12.4
	r := Report{Years: 2, FeatureCount: 64, FeatureYears: 0.02, Features: map[string]float64{"daily": 3},
		Monitors: []Row{{"adwin", map[string]float64{"daily": 0.25}, map[string]*float64{"1": &hours}}}}
	var text strings.Builder
	if err := r.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	if got := strings.Fields(lines[1]); strings.Join(got, " ") != "adwin 0 0 0 0 0.25 0 – 12 –" {
		t.Errorf("line is %q", got)
	}
	if !strings.Contains(lines[2], "64 features") || !strings.Contains(lines[3], "2 machine-years") {
		t.Errorf("table is\n%s", text.String())
	}
}
