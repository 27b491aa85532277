package agent

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// pumpJob is what a coordinator would send for the machines of testConfig.
func pumpJob(kind string) job.Spec {
	return job.Spec{
		Name: "pumps", Class: "pump",
		Features: job.FeatureSpec{Window: 5 * time.Second, Channels: []job.ChannelFeatures{
			{Channel: "temperature", Features: []string{"mean", "std"}},
			{Channel: "pressure", Features: []string{"mean", "std", "ripple"}},
		}},
		Model: model.Spec{Kind: kind},
		Alarm: job.AlarmSpec{Baseline: 20},
	}
}

// release encodes parameters as the coordinator does.
func release(t testing.TB, spec job.Spec, version uint64, params []fedavg.Vector) []byte {
	t.Helper()
	blob, err := fedavg.EncodeGlobal(&fedavg.Global{
		Job: spec.Name, Version: version, SpecDigest: spec.Digest(), Base: strings.Repeat("0", 64), Round: version, Attempt: 1,
		Seed: 1, Weight: 1, Participants: 1, Metrics: map[string]float64{"loss": 1}, Vectors: params,
	})
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func family(t testing.TB, spec job.Spec) model.Family {
	t.Helper()
	f, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A whole round as the uplink sees it: not ready, ready, trained, released,
// restarted.
func TestNode_JobFromArrivalToRelease(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1", "pump-2")
	r := start(t, cfg)
	n := node{r.Agent}
	if m := n.Machines(); len(m) != 2 || m[0].Name != "pump-1" || m[1].Class != "pump" {
		t.Errorf("machines are %v", m)
	}
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	changed := n.Changed()
	spec := pumpJob(model.KindGaussian)
	if err := n.SetJobs([]job.Spec{spec, {Name: "fans", Class: "fan"}}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("new jobs are no change")
	}

	f := family(t, spec)
	_, err := n.Train(context.Background(), "pumps", uplink.Start{Global: f.Init(1), Seed: 1})
	if err == nil || !strings.Contains(err.Error(), "2 of 2 machines are still in baseline: 0 of 20 windows") {
		t.Errorf("training without data: %v", err)
	}
	s.rows("pump-1", 120, 0)
	eventually(t, "readiness", func() bool { return n.Status().Jobs[1].Ready })
	status := n.Status()
	if j := status.Jobs[1]; j.Digest != spec.Digest() || j.Samples < 20 || j.Reason != "" {
		t.Errorf("readiness is %+v", j)
	}
	if j := status.Jobs[0]; j.Job != "fans" || j.Ready || j.Reason == "" {
		t.Errorf("readiness of a broken job is %+v", j)
	}
	if m := status.Machines[0]; m.State != "running" || m.Zone == "" || m.Job != "pumps" || m.JobVersions["pumps"] != 0 {
		t.Errorf("status of pump-1 is %+v", m)
	}
	s.rows("pump-2", 20, 0)

	learned, err := n.Train(context.Background(), "pumps", uplink.Start{Global: f.Init(1), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	update := learned.Update
	update.Agent, update.Round, update.Attempt = "gw1", 1, 1
	if err := update.Verify(f.ParamLayout()); err != nil {
		t.Errorf("update: %v", err)
	}
	if update.Weight < 20 || math.IsNaN(update.Metrics["loss"]) {
		t.Errorf("update of weight %v with metrics %v", update.Weight, update.Metrics)
	}

	blob := release(t, spec, 4, update.Vectors)
	if err := n.Install("pumps", 4, blob); err != nil {
		t.Fatal(err)
	}
	if v := n.Installed("pumps"); v != 4 {
		t.Errorf("version %d is installed", v)
	}
	s.rows("pump-1", 10, 0)
	eventually(t, "a score by the release", func() bool { return n.Status().Machines[0].ModelVersion == 4 })
	_, models := r.get("/api/v1/models")
	if m := models["models"].([]any)[1].(map[string]any); m["version"] != 4.0 || m["machines"].(map[string]any)["pump-1"] != 4.0 {
		t.Errorf("models are %v", models)
	}
	r.stop()

	// The job and the model outlive the process, and no coordinator is needed.
	r = start(t, cfg)
	n = node{r.Agent}
	if v := n.Installed("pumps"); v != 4 {
		t.Errorf("version %d after a restart", v)
	}
	if m := r.machines[0].Status(); m.Job != "pumps" || m.Output.Version != 4 || m.Have != 20 {
		t.Errorf("machine after a restart: %+v", m)
	}
	r.stop()

	// A damaged model falls back: here there is no previous one, so to the local.
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, "models", "pumps", spec.Digest(), "*.safetensors"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], blob[:len(blob)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	if m := r.machines[0].Status(); m.Job != "pumps" || m.Output.Version != 0 || !m.Jobs[0].Trained {
		t.Errorf("machine with a damaged model: %+v", m)
	}
}

func TestNode_RefusesWhatDoesNotFit(t *testing.T) {
	r := start(t, testConfig(t, "127.0.0.1:1", "pump-1"))
	n := node{r.Agent}
	spec := pumpJob(model.KindGaussian)
	if err := n.SetJobs([]job.Spec{spec}); err != nil {
		t.Fatal(err)
	}
	params := family(t, spec).Init(1)
	other := spec
	other.Alarm.Threshold = 9
	bigger := pumpJob(model.KindGaussian)
	bigger.Features.Channels[0].Features = append(bigger.Features.Channels[0].Features, "max")
	for name, blob := range map[string][]byte{
		"noise":         []byte("noise"),
		"empty":         nil,
		"another spec":  release(t, other, 2, params),
		"another shape": release(t, spec, 2, family(t, bigger).Init(1)),
		"torn":          release(t, spec, 2, params)[:100],
	} {
		if err := n.Install("pumps", 2, blob); err == nil {
			t.Errorf("%s was installed", name)
		}
	}
	if err := n.Install("unknown", 2, nil); err == nil {
		t.Error("a model of an unknown job was installed")
	}
	if v := n.Installed("pumps"); v != 0 {
		t.Errorf("version %d is installed", v)
	}
	if _, err := n.Train(context.Background(), "unknown", uplink.Start{Seed: 1}); err == nil {
		t.Error("an unknown job was trained")
	}
}

func TestNode_TrainingEndsWithItsContext(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	r := start(t, testConfig(t, broker, "pump-1"))
	n := node{r.Agent}
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	spec := pumpJob(model.KindAutoencoder)
	spec.Model.Autoencoder = &model.AutoencoderSpec{Epochs: 1 << 30}
	if err := n.SetJobs([]job.Spec{spec}); err != nil {
		t.Fatal(err)
	}
	s.rows("pump-1", 120, 0)
	eventually(t, "readiness", func() bool { return n.Status().Jobs[0].Ready })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for range 2 { // the second waits for the first, and neither outlives ctx
		go func() {
			_, err := n.Train(ctx, "pumps", uplink.Start{Global: family(t, spec).Init(1), Seed: 1})
			done <- err
		}()
	}
	// Prediction goes on meanwhile.
	before := r.machines[0].Status().Windows
	s.rows("pump-1", 30, 0)
	eventually(t, "windows during training", func() bool { return r.machines[0].Status().Windows >= before+5 })
	select {
	case err := <-done:
		t.Fatalf("training ended by itself: %v", err)
	default:
	}
	cancel()
	for range 2 {
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("training ended with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("training outlives its context")
		}
	}
}

func TestNode_AlarmsStayUntilAcknowledged(t *testing.T) {
	cfg, _, r := startAlarmed(t)
	eventually(t, "alarm to be sent", func() bool { return len(node{r.Agent}.Alarms()) == 1 })
	r.stop()
	r = start(t, cfg)
	n := node{r.Agent}
	list := n.Alarms()
	if len(list) != 1 || list[0].Machine != "pump-1" || list[0].PeakScore < 1 || len(list[0].Reasons) == 0 {
		t.Fatalf("alarms after a restart are %+v", list)
	}
	n.AckAlarm(list[0].ID, list[0].Revision)
	if left := n.Alarms(); len(left) != 0 {
		t.Errorf("acknowledged alarms stay: %+v", left)
	}
}

// An agent whose data directory cannot be written still predicts.
func TestAgent_DataDirectoryThatIsNone(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = filepath.Join(file, "data")
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	spec := pumpJob(model.KindGaussian)
	if err := (node{r.Agent}).SetJobs([]job.Spec{spec}); err == nil {
		t.Error("jobs were kept in a directory that cannot be")
	}
	s.rows("pump-1", 110, 0)
	s.rows("pump-1", 40, 1)
	eventually(t, "alarm", func() bool { return r.machine("pump-1")["alarm"] == true })
	if err := (node{r.Agent}).Install("pumps", 2, release(t, spec, 2, family(t, spec).Init(1))); err != nil {
		t.Errorf("a release cannot serve from memory: %v", err)
	}
	status, doc := r.get("/healthz")
	if status != 200 || doc["status"] != "degraded" {
		t.Errorf("healthz is %d %v", status, doc)
	}
}
