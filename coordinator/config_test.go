package coordinator

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

func TestLoadConfig_Example(t *testing.T) {
	cfg, err := LoadConfig(filepath.Join("..", "firmware-configs", "coordinator", "coordinator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Jobs) != 4 || cfg.Jobs[2].Purpose() != job.Diagnose || cfg.Jobs[3].Purpose() != job.Prognose || cfg.Jobs[0].Model.Kind != "gaussian" || cfg.Jobs[1].Model.Kind != "autoencoder" || cfg.Jobs[1].Role != "shadow" {
		t.Errorf("jobs = %+v", cfg.Jobs)
	}
	if n := cfg.Jobs[0].Features.Len(); n != 10 {
		t.Errorf("live job has %d features, want 10", n)
	}
	if cfg.Jobs[0].Rounds.Every != time.Hour || cfg.Jobs[0].Features.Window != 10*time.Second {
		t.Errorf("durations = %v, %v", cfg.Jobs[0].Rounds.Every, cfg.Jobs[0].Features.Window)
	}
}

// What the example shows commented out must be the default, so that its reader
// can trust it.
func TestLoadConfig_ExampleShowsTheDefaults(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "firmware-configs", "coordinator", "coordinator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "# "); ok && (strings.HasPrefix(text, "limits:") || strings.HasPrefix(text, "keep:") ||
			strings.HasPrefix(text, "log_level:") || strings.HasPrefix(text, "  ")) {
			shown = append(shown, text)
		}
	}
	if len(shown) < 10 {
		t.Fatalf("found %d commented settings: %q", len(shown), shown)
	}
	cfg := DefaultConfig()
	if _, err := strictyaml.Parse("example", []byte(strings.Join(shown, "")), &cfg); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), cfg); diff != "" {
		t.Error(diff)
	}
}

func load(t *testing.T, yaml string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadConfig(path)
}

func TestLoadConfig_Minimal(t *testing.T) {
	cfg, err := load(t, "data_dir: /var/lib/x\nlog_level: warn\nlimits: {max_update_bytes: 2MiB}\n")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != ":7443" || cfg.Web.Listen != "127.0.0.1:7480" || cfg.Limits.MaxAgents != 1000 || cfg.Limits.MaxUpdateBytes != 2<<20 ||
		cfg.Level() != slog.LevelWarn || !slices.Contains(cfg.Hosts, "localhost") || !slices.Contains(cfg.Hosts, "127.0.0.1") {
		t.Errorf("config = %+v", cfg)
	}
}

func TestLoadConfig_AllProblemsAtOnce(t *testing.T) {
	_, err := load(t, `listen: "7443"
web: {listn: ":0"}
hosts: ["https://hq"]
limits: {max_update_bytes: 5MB, max_agents: 0}
keep: {models: 1}
log_level: loud
jobs:
  - &pump
    name: pump
    class: process-pump
    features: {window: 10s, channels: [{channel: v, features: [rms]}]}
    model: {kind: gausian}
  - <<: *pump
    rounds: {every: -1s}
  - name: fan
    class: process-pump
    role: shadwo
    features: {window: 10s, channels: []}
    model: {kind: gaussian}
`)
	var problems *strictyaml.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{
		`c.yaml: data_dir: is missing`,
		`c.yaml:1: listen: "7443" is no address`,
		`c.yaml:2: web.listn: unknown key; did you mean "listen"?`,
		`c.yaml:3: hosts[0]: "https://hq" is no host name`,
		`c.yaml:4: limits.max_update_bytes: want a size`,
		`c.yaml:4: limits.max_agents: must be at least 1, got 0`,
		`c.yaml:5: keep.models: must be at least 2, got 1`,
		`c.yaml:6: log_level: "loud" is none of`,
		`jobs[0].model.kind: is "gausian"; it must be one of `,
		`; did you mean "gaussian"?`,
		`jobs[2].role: is "shadwo"; it must be "live" or "shadow"; did you mean "shadow"?`,
		`jobs[2].features.channels: is empty`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no problem says %q in\n%v", want, err)
		}
	}
}

func TestConfigValidate_JobsTogether(t *testing.T) {
	one, same, live, shadow := pumpJob("pump"), pumpJob("pump"), pumpJob("other"), pumpJob("third")
	same.Class = "fan"
	shadow.Role = "shadow"
	cfg := testConfig(one, same, live, shadow)
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`jobs[1].name: "pump" is the name of jobs[0]`, `jobs[2].role: class "pump" has a live job to detect already, jobs[0]`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no problem says %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "jobs[3]") {
		t.Errorf("a shadow job is no problem: %v", err)
	}

	diagnose, again := pumpJob("faults"), pumpJob("faults-2")
	diagnose.Model = model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{Classes: []string{"good", "belt"}, Healthy: "good"}}
	again.Model = diagnose.Model
	cfg = testConfig(one, diagnose)
	if err := cfg.Validate(); err != nil {
		t.Errorf("a class has a live job for each purpose: %v", err)
	}
	cfg = testConfig(one, diagnose, again)
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `jobs[2].role: class "pump" has a live job to diagnose already, jobs[1]`) {
		t.Errorf("two live jobs of one purpose: %v", err)
	}
}

func TestLoadConfig_AbsentFileIsNamed(t *testing.T) {
	_, err := LoadConfig(filepath.Join(t.TempDir(), "nowhere.yaml"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nowhere.yaml") {
		t.Errorf("error = %v", err)
	}
}
