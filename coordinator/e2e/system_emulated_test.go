//go:build system

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The agents built for ARM start under emulation, one for the oldest board and
// one for the newest, and learn with a native one.
func TestSystem_EmulatedARM(t *testing.T) {
	arm := program(t, "qemu-arm") + " -cpu arm1176 " + built(t, "cross", "millwright-agent-linux-armv6")
	arm64 := program(t, "qemu-aarch64") + " " + built(t, "cross", "millwright-agent-linux-arm64")
	dir := t.TempDir()
	out := filepath.Join(dir, "demo.json")
	demo := exec.CommandContext(t.Context(), built(t, "bin", "millwright-demo"), "run", "--rounds", "2",
		"--bin", built(t, "bin"), "--dir", filepath.Join(dir, "demo"), "--out", out,
		"--agent-command", arm, "--agent-command", arm64)
	text, err := demo.CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		t.Fatalf("millwright-demo: %v", err)
	}
	for _, r := range readSummary(t, out).Rounds {
		if r.State != "committed" || r.Participants != 3 {
			t.Errorf("round %d of %s is %s with %d participants, want committed with 3", r.Round, r.Job, r.State, r.Participants)
		}
	}
}

// demoSummary is what the tests read of demo.json.
type demoSummary struct {
	Machines []struct {
		Machine, Zone, Fault string
		Alarms               int
	}
	Rounds []struct {
		Job, State   string
		Round        uint64
		Participants int
	}
}

func readSummary(t *testing.T, path string) demoSummary {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s demoSummary
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	if len(s.Rounds) == 0 {
		t.Fatalf("%s lists no rounds", path)
	}
	return s
}
