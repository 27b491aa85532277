package robust

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// The task: four classes of vibration patterns over eight features, which overlap,
// so that a perfect model is right in some nine of ten.
const (
	features    = 8
	rowsEach    = 120
	rowsTested  = 2000
	separation  = 1.6 // between the classes' means, in standard deviations of the noise
	favouredOf4 = 0.4 // share of the class that a gateway sees more of than others
)

var classes = []string{"healthy", "imbalance", "bearing", "cavitation"}

// world is the data: what each gateway has, and what the model is judged by.
type world struct {
	cfg      Config
	gateways []model.Set
	test     model.Set
}

// newWorld draws the data. Plants differ: each gateway sees one class more often.
func newWorld(cfg Config) *world {
	r := rand.New(rand.NewPCG(cfg.Seed, 0x726f6275))
	means := make([][]float64, len(classes))
	for c := range means {
		means[c] = make([]float64, features)
		for i := range means[c] {
			means[c][i] = separation * r.NormFloat64() / 2
		}
	}
	draw := func(name string, n, favoured int) model.Set {
		set := model.Set{Machine: name}
		for range n {
			c := r.IntN(len(classes))
			if favoured >= 0 && r.Float64() < favouredOf4 {
				c = favoured
			}
			z := make([]float64, features)
			for i := range z {
				z[i] = means[c][i] + r.NormFloat64()
			}
			set.Rows, set.Targets = append(set.Rows, z), append(set.Targets, float64(c))
		}
		return set
	}
	w := &world{cfg: cfg, test: draw("test", rowsTested, -1)}
	for g := range cfg.Gateways {
		w.gateways = append(w.gateways, draw(gatewayName(g), rowsEach, g%len(classes)))
	}
	return w
}

func gatewayName(g int) string { return fmt.Sprintf("gateway-%02d", g) }

// spec is the job that is federated.
func spec(s job.StrategySpec) job.Spec {
	names := make([]string, features)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	return job.Spec{
		Name: "faults", Class: "pump", Strategy: s,
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "vibration", Features: names}}},
		Model:    model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{Classes: classes, Hidden: []int{12}, Epochs: 2}},
	}.WithDefaults()
}

// judge measures a classifier on rows that nobody has trained on.
func (w *world) judge(m model.Classifier) (accuracy, macroF1 float64) {
	right := 0
	var hit, said, truth [16]float64
	var p []float64
	for r, z := range w.test.Rows {
		p = m.Probabilities(p, z)
		best := 0
		for c := range p {
			if p[c] > p[best] {
				best = c
			}
		}
		t := int(w.test.Targets[r])
		said[best]++
		truth[t]++
		if best == t {
			right++
			hit[t]++
		}
	}
	for c := range classes {
		if said[c]+truth[c] > 0 {
			macroF1 += 2 * hit[c] / (said[c] + truth[c]) / float64(len(classes))
		}
	}
	return float64(right) / float64(len(w.test.Rows)), macroF1
}
