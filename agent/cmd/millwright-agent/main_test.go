package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/cli"
)

const config = `gateway: gw1
mqtt: {broker: "tcp://127.0.0.1:1"}
machines:
  - name: pump-1
    class: pump
    channels: [{name: temperature, topic: p1/t, unit: degC, format: scalar}]
`

// run is the program with its surroundings as arguments.
func run(args []string, stdout, stderr io.Writer) int {
	return cli.Run(context.Background(), newRootCommand(), args, nil, stdout, stderr)
}

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
		{"help on a verb", []string{"sniff", "--help"}, 0, "How long to listen. (default 30s)", ""},
		{"config=", []string{"check", "--offline", "--config=" + good}, 0, good + " is good", ""},
		{"unknown verb", []string{"chek", "-c", good}, 2, "", "millwright-agent: unexpected argument chek; did you mean \"check\"?\n"},
		{"unknown label", []string{"label", "faliure", "pump-1"}, 2, "", "unexpected argument faliure; did you mean \"failure\"?"},
		{"unknown flag", []string{"check", "--ofline"}, 2, "", "unknown flag --ofline; did you mean --offline?\nmillwright-agent: run 'millwright-agent check --help'"},
		{"missing flag", []string{"sniff"}, 2, "", "missing --broker"},
		{"missing argument", []string{"test", "-c", good}, 2, "", "expected \"<files...>\""},
		{"missing file", []string{"test", "-c", good, "absent.json"}, 2, "", "<files>: stat absent.json: no such file"},
		{"argument too many", []string{"run", "fast"}, 2, "", "unexpected argument fast"},
		{"no verb", nil, 2, "", "expected one of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(c.args, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) || c.stdout == "" && stdout.Len() > 0 {
				t.Errorf("stdout %q lacks %q", stdout.String(), c.stdout)
			}
			if !strings.Contains(stderr.String(), c.stderr) || c.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stderr %q, want %q", stderr.String(), c.stderr)
			}
		})
	}
}

func TestRun_Completion(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -o", "zsh": "#compdef millwright-agent", "fish": "complete -c millwright-agent"} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"completion", shell}, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: exit code %d, %q, %q", shell, code, &stderr, stdout.String()[:min(200, stdout.Len())])
		}
	}
	// What the script asks the program; hidden flags are not offered.
	var stdout, stderr bytes.Buffer
	if code := run([]string{"__complete", "sensors", "--"}, &stdout, &stderr); code != 0 ||
		!strings.Contains(stdout.String(), "--no-scan") || strings.Contains(stdout.String(), "--root") {
		t.Errorf("exit code %d, %q, %q", code, &stdout, &stderr)
	}
}
