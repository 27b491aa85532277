package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/cli"
)

func TestRun_ExitCodesAndMessages(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "job.yaml")
	if err := os.WriteFile(file, []byte("name: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string // parts
	}{
		{"--help", 0, "robust", ""},
		{"robust --help", 0, "Gateways, honest and lying. (default 24)", ""},
		{"", 2, "", "expected one of"},
		{"evla", 2, "", `unexpected argument evla; did you mean "eval"?`},
		{"eval --dataset skab", 2, "", "missing --data\n"},
		{"eval --dataset skap --data " + dir, 2, "", `must be one of "skab", "cmapss", "cwru", "gearbox"`},
		{"eval --dataset skab --data " + dir, 1, "", "millwright-lab: "}, // nothing in it
		{"choose --job " + dir + " --data " + dir, 2, "", "--job: "},
		{"choose --job " + file + " --data " + file, 2, "", "is no folder"},
		{"swarm --agents 0", 1, "", "at least 1"},
	} {
		var stdout, stderr bytes.Buffer
		code := cli.Run(t.Context(), newRootCommand(), strings.Fields(c.args), nil, &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) ||
			c.code != 0 && stdout.Len() > 0 || c.code == 0 && stderr.Len() > 0 {
			t.Errorf("millwright-lab %s: exit code %d, %q, %q; want %d, %q, %q", c.args, code, &stdout, &stderr, c.code, c.stdout, c.stderr)
		}
	}
}

func TestShow_TableAndJSON(t *testing.T) {
	for args, want := range map[string]string{
		"robust --gateways 5 --attackers 1 --rounds 1":        "none", // the row without an attack
		"robust --gateways 5 --attackers 1 --rounds 1 --json": `"strategies": [`,
	} {
		var stdout, stderr bytes.Buffer
		if code := cli.Run(t.Context(), newRootCommand(), strings.Fields(args), nil, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("millwright-lab %s: exit code %d, %q, %q; want %q", args, code, &stdout, &stderr, want)
		}
	}
}
