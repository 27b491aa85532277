package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const config = `gateway: gw1
mqtt: {broker: "tcp://127.0.0.1:1"}
machines:
  - name: pump-1
    class: pump
    channels: [{name: temperature, topic: p1/t, unit: degC, format: scalar}]
`

func write(t testing.TB, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun_ExitCodesAndMessages(t *testing.T) {
	good := write(t, config)
	bad := write(t, strings.Replace(config, "unit: degC", "unt: degC", 1))
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{"version", []string{"version"}, 0, "millwright-agent devel", ""},
		{"help", []string{"--help"}, 0, "check", ""},
		{"good", []string{"check", "--offline", "--config", good}, 0, "machine pump-1 of class pump:\n  temperature in degC from p1/t (scalar)\nworks alone", ""},
		{"bad", []string{"check", "-c", bad}, 2, "", bad + `:6: machines[0].channels[0].unt: unknown key; did you mean "unit"?`},
		{"bad run", []string{"run", "-c", bad}, 2, "", "channel has no unit"},
		{"absent", []string{"check", "-c", "/absent/agent.yaml"}, 2, "", "/absent/agent.yaml: no such file"},
		{"unknown verb", []string{"dance"}, 2, "", "dance"},
		{"unknown flag", []string{"run", "--fast"}, 2, "", "--fast"},
		{"no verb", nil, 2, "", "expected one of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(c.args, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) {
				t.Errorf("stdout %q lacks %q", stdout.String(), c.stdout)
			}
			if !strings.Contains(stderr.String(), c.stderr) || c.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stderr %q, want %q", stderr.String(), c.stderr)
			}
		})
	}
}
