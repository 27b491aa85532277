package agent

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// trainable is a job with so many features, its family and rows to learn from.
func trainable(t testing.TB, kind string, features, machines, rows int) (job.Spec, model.Family, []model.Set) {
	t.Helper()
	names := make([]string, features)
	for i := range names {
		names[i] = "f" + strconv.Itoa(i)
	}
	spec := job.Spec{
		Name: "pumps", Class: "pump",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "c", Features: names}}},
		Model:    model.Spec{Kind: kind},
	}.WithDefaults()
	f, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	sets := make([]model.Set, machines)
	for m := range sets {
		for range rows {
			z := make([]float64, features)
			for i := range z {
				z[i] = rng.NormFloat64()
			}
			sets[m].Rows = append(sets[m].Rows, z)
			sets[m].Targets = append(sets[m].Targets, float64(rows-len(sets[m].Rows)))
		}
	}
	return spec, f, sets
}

// A share changes when the work is done, not what is learned; and it is kept, within
// what the system's clock tells.
func TestTraining_KeepsItsShareOfACore(t *testing.T) {
	_, f, sets := trainable(t, model.KindAutoencoder, 40, 1, 40000)
	global := f.Init(1)
	var free, held []byte
	for _, share := range []float64{1, 0.25} {
		began, used := time.Now(), processTime(t)
		trained, err := trainAside(t.Context(), share, f, global, sets, model.TrainOptions{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		took, work := time.Since(began), processTime(t)-used
		t.Logf("share %v: %v of work in %v, %.1f %% of a core", share, work, took, 100*work.Seconds()/took.Seconds())
		blob, err := fedavg.EncodeUpdate(&fedavg.Update{Job: "j", Agent: "a", Weight: trained.Weight, Vectors: trained.Vectors})
		if err != nil {
			t.Fatal(err)
		}
		if share == 1 {
			free = blob
			continue
		}
		held = blob
		if work > 0 && work.Seconds() > 1.3*share*took.Seconds() {
			t.Errorf("%v of work in %v is more than a share of %v", work, took, share)
		}
	}
	if !bytes.Equal(free, held) {
		t.Error("a share of the core changes what is learned")
	}
}

// A round that ends stops training at once, also while it pauses.
func TestTraining_PauseEndsWithItsContext(t *testing.T) {
	_, f, sets := trainable(t, model.KindAutoencoder, 40, 1, 50000)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := trainAside(ctx, 0.01, f, f.Init(1), sets, model.TrainOptions{}); err == nil {
		t.Error("training ended well after its context")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

func TestTraining_RowsThatFit(t *testing.T) {
	spec, f, _ := trainable(t, model.KindGaussian, 100, 1, 1)
	c := TrainingConfig{Memory: 16 << 20, CPU: 25}
	rows, err := c.trainingRows(&spec, f)
	// Half of 16 MiB, less 100 B for each of the (n²+5n)/2+2 parameters, at 8n+160 B a row.
	if want := (8<<20 - 100*((100*100+500)/2+2)) / 960; err != nil || rows != want {
		t.Errorf("%d rows (%v), want %d", rows, err, want)
	}
	spec, f, _ = trainable(t, model.KindGaussian, 500, 1, 1)
	if _, err := c.trainingRows(&spec, f); err == nil || !strings.Contains(err.Error(), "set training.memory above 16MiB") {
		t.Errorf("a model that does not fit: %v", err)
	}
}

func TestTraining_ConfigMistakes(t *testing.T) {
	for section, want := range map[string]string{
		"{memory: 1000}": "a.yaml:4: training.memory: is 1000B; it must be at least 1MiB",
		"{cpu: 0%}":      "a.yaml:4: training.cpu: is 0%; it must lie between 1% and 100%, of one core",
		"{cpu: 101%}":    "a.yaml:4: training.cpu: is 101%; it must lie between 1% and 100%, of one core",
		"{cpu: 25}":      `a.yaml:4: training.cpu: want a share such as 25%, got "25"`,
		"{cores: 2}":     `a.yaml:4: training.cores: unknown key`,
	} {
		_, err := load(t, strings.Replace(good, "machines:", "training: "+section+"\nmachines:", 1))
		if got := text(err); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", section, got, want)
		}
	}
	cfg, err := load(t, strings.Replace(good, "machines:", "training: {memory: 8MiB, cpu: 12.5%}\nmachines:", 1))
	if err != nil || cfg.Training != (TrainingConfig{Memory: 8 << 20, CPU: 12.5}) {
		t.Errorf("%+v, %v", cfg.Training, err)
	}
	if d := DefaultConfig().Training; d != (TrainingConfig{Memory: 64 << 20, CPU: 25}) {
		t.Errorf("default is %+v", d)
	}
}

// trainingMemoryVar tells the test's own binary to train and print by how much its
// memory grew at most.
const trainingMemoryVar = "MILLWRIGHT_TEST_TRAINING"

// A process of its own trains on as many rows as its budget allows, and grows by no more.
func TestTraining_StaysWithinItsMemory(t *testing.T) {
	if runtime.GOOS != "linux" || raceEnabled {
		t.Skip("needs the memory of a process as Linux tells it, without the race detector's own")
	}
	if os.Getenv(trainingMemoryVar) != "" {
		growth(t)
		return
	}
	for _, kind := range []string{model.KindGaussian, model.KindAutoencoder, model.KindRUL} {
		for _, memory := range []string{"16MiB", "64MiB"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", "^TestTraining_StaysWithinItsMemory$")
			cmd.Env = append(os.Environ(), trainingMemoryVar+"="+kind+" "+memory)
			out, err := cmd.CombinedOutput()
			_, rest, ok := strings.Cut(string(out), "grew by ")
			if err != nil || !ok {
				t.Fatalf("%s within %s: %v\n%s", kind, memory, err, out)
			}
			var grew float64
			var rows int
			if _, err := fmt.Sscanf(rest, "%g bytes with %d rows", &grew, &rows); err != nil {
				t.Fatalf("read %q: %v", rest, err)
			}
			size, _ := strictyaml.ParseSize(memory)
			t.Logf("%s within %s: %d rows of 100 features, %.1f MiB more", kind, memory, rows, grew/(1<<20))
			if grew > float64(size) {
				t.Errorf("%s within %s took %.1f MiB", kind, memory, grew/(1<<20))
			}
			if grew < float64(size)/4 {
				t.Errorf("%s within %s took only %.1f MiB: the budget is not used", kind, memory, grew/(1<<20))
			}
		}
	}
}

// growth trains on what the budget in the environment allows.
func growth(t *testing.T) {
	kind, memory, _ := strings.Cut(os.Getenv(trainingMemoryVar), " ")
	size, err := strictyaml.ParseSize(memory)
	if err != nil {
		t.Fatal(err)
	}
	spec, f, _ := trainable(t, kind, 100, 1, 1)
	rows, err := (&TrainingConfig{Memory: size, CPU: 100}).trainingRows(&spec, f)
	if err != nil {
		t.Fatal(err)
	}
	global := f.Init(1)
	if kind == model.KindRUL { // which sums up all that it can from its fourth round on
		_, _, few := trainable(t, kind, 100, 2, 300)
		for range 4 {
			trained, err := f.Train(t.Context(), global, few, model.TrainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			global = trained.Vectors
		}
	}
	debug.FreeOSMemory()
	before := statusOf(t, "VmRSS:")
	_, _, sets := trainable(t, kind, 100, 2, rows/2)
	if _, err := trainAside(t.Context(), 1, f, global, sets, model.TrainOptions{Seed: 1}); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("grew by %d bytes with %d rows\n", statusOf(t, "VmHWM:")-before, rows)
}

// statusOf returns a number of bytes that Linux tells of this process.
func statusOf(t *testing.T, key string) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), key)
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return kb << 10
}
