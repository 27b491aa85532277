package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"millwright-agent": main})
}

// TestScripts runs the program as a person would; see testdata/script.
func TestScripts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() }) // after the scripts, which run in parallel
	address := "127.0.0.1:1"
	if haveMosquitto() {
		address = protectedBroker(t)
	}
	_, port, _ := net.SplitHostPort(address)
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/script",
		Deadline: time.Now().Add(2 * time.Minute),
		Setup: func(env *testscript.Env) error {
			env.Setenv("BUSY", busy.Addr().String())
			env.Setenv("BROKER", address)
			env.Setenv("BROKER_PORT", port)
			return writeRecording(filepath.Join(env.WorkDir, "recording.jsonl"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "envsubst": envsubst, "publish": publish, "smaller": smaller,
		},
	})
}

func haveMosquitto() bool {
	for _, p := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if _, err := exec.LookPath(p); err == nil {
			return true
		}
	}
	return false
}

// protectedBroker is a Mosquitto that lets millwright in, with the password secret.
func protectedBroker(t *testing.T) string {
	passwd, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skip("mosquitto_passwd is not installed")
	}
	file := filepath.Join(t.TempDir(), "passwd")
	if out, err := exec.Command(passwd, "-b", "-c", file, "millwright", "secret").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return brokertest.Start(t, "allow_anonymous false", "password_file "+file).Address()
}

// writeRecording records a machine that is well for 10 windows of 10 s and then is not.
// The values are a fixed pattern, so that the scores are the same everywhere.
func writeRecording(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	start := time.Unix(1767261600, 0).UTC() // 2026-01-01T10:00:00Z
	r, err := replay.NewRecorder(f, replay.RecordingHeader{Gateway: "gw1", Started: start})
	if err != nil {
		return err
	}
	for i := range 32 {
		x := 0.0025 + 0.0001*float64(i*7%5)
		if i >= 22 {
			x *= 10
		}
		b := sensors.Block{Machine: "pump-1", Channel: "velocity", Start: start.Add(time.Duration(i) * 5 * time.Second), Samples: []float64{x}}
		if err := r.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// exits runs a program that must end with the given code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [arguments]")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code is %s, want %s", code, args[0])
	}
}

// envsubst replaces $NAME in a file by the environment's value.
func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: envsubst file")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// publish sends a payload so many times, ten a second.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: publish times topic payload")
	}
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range times {
		ts.Check(ts.Exec("mosquitto_pub", "-h", "127.0.0.1", "-p", ts.Getenv("BROKER_PORT"), "-u", "millwright", "-P", "secret", "-t", args[1], "-m", args[2]))
		time.Sleep(100 * time.Millisecond)
	}
}

// smaller checks that a file is smaller than a number of bytes.
func smaller(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: smaller file bytes")
	}
	if n := len(ts.ReadFile(args[0])); fmt.Sprint(n) == "" || n >= atoi(ts, args[1]) {
		ts.Fatalf("%s has %d bytes", args[0], n)
	}
}

func atoi(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}
