package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
)

// The script that measures other agents measures this one.
func TestRun_CompareScript(t *testing.T) {
	if testing.Short() {
		t.Skip("builds sensorsim")
	}
	for _, program := range []string{"bash", "awk", "curl", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	broker := brokertest.Start(t, "max_queued_messages 0")
	dir := t.TempDir()
	sim := filepath.Join(dir, "sensorsim")
	if out, err := exec.Command("go", "build", "-o", sim, "../../../sensors/cmd/sensorsim").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	api := freeAddress(t)
	config := filepath.Join(dir, "agent.yaml")
	text := fmt.Sprintf(`gateway: gw1
data_dir: %s/data
mqtt: {broker: "tcp://%s"}
api: {listen: "%s"}
machines:
  - names: [m0, m1, m2, m3]
    class: c
    channels: [{name: ax, topic: "plant/{machine}/row", unit: g, format: json, path: ax, time_path: t}]
`, dir, broker.Address(), api)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := launch(t, config, api)
	count := fmt.Sprintf(`curl -s http://%s/metrics | awk '/^millwright_messages_received_total/ {print int($2)}'`, api)
	out, err := exec.Command("bash", "../../../sensors/compare-agent.sh", "--pid", fmt.Sprint(a.cmd.Process.Pid), "--broker", broker.Address(),
		"--count", count, "--messages", "4000", "--sensorsim", sim).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{`messages_per_s [1-9]\d*\n`, `cpu_us_per_message \d+\.\d\n`, `lost_messages 0\n`, `peak_rss_mb [1-9]\d*\.\d\n`} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it printed no %s:\n%s", want, out)
		}
	}
	// Messages are counted when they come, samples when they are processed.
	eventually(t, "all 4000 samples are received", func() bool { s, err := a.status(); return err == nil && s.Samples.Received == 4000 })
	a.end(syscall.SIGTERM)
	// A mistake is named, and measures nothing.
	out, err = exec.Command("bash", "../../../sensors/compare-agent.sh", "--pid", fmt.Sprint(os.Getpid()), "--broker", broker.Address(),
		"--count", "echo many", "--sensorsim", sim).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--count printed many, not one whole number") {
		t.Errorf("a bad count gives %v: %s", err, out)
	}
}
