package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is an agent as the operating system sees it.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	api  string
	log  *logText
	quit chan struct{}
	wait sync.WaitGroup

	mu    sync.Mutex
	looks int
	last  samples
}

// freeAddress is one on loopback that nobody listens at any more.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// logText is what a process has logged so far.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// samples are what /api/v1/status says of samples and messages.
type samples struct {
	Received int64            `json:"received_total"`
	Used     int64            `json:"used_total"`
	Stored   int64            `json:"stored"`
	Dropped  map[string]int64 `json:"dropped_total"`
}

type status struct {
	Broker struct {
		Reading bool `json:"reading"`
	} `json:"broker"`
	Samples  samples `json:"samples"`
	Messages struct {
		Dropped map[string]int64 `json:"dropped_total"`
	} `json:"messages"`
}

// launch starts the program itself, not its functions: the test binary plays its part
// under its name (see testscript.Main).
func launch(t *testing.T, config, api string, env ...string) *process {
	t.Helper()
	return launchBy(t, nil, config, api, env...)
}

// launchBy is launch by way of a command that executes its last arguments.
func launchBy(t *testing.T, by []string, config, api string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "millwright-agent")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, api: api, log: &logText{}, quit: make(chan struct{})}
	args := slices.Concat(by, []string{name, "run", "--config", config})
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(os.Kill) })
	eventually(t, "the agent reads from its broker", func() bool { s, err := p.status(); return err == nil && s.Broker.Reading })
	p.wait.Go(p.watch)
	return p
}

// watch looks at the counts as often as it can.
func (p *process) watch() {
	for {
		select {
		case <-p.quit:
			return
		default:
		}
		s, err := p.status()
		if err != nil {
			continue // it is being killed
		}
		sum := s.Samples.Used + s.Samples.Stored
		for _, n := range s.Samples.Dropped {
			sum += n
		}
		if s.Samples.Received != sum {
			p.t.Errorf("counts do not add up: %+v", s.Samples)
		}
		p.mu.Lock()
		if s.Samples.Received < p.last.Received {
			p.t.Errorf("counts went back from %+v to %+v", p.last, s.Samples)
		}
		p.looks++
		p.last = s.Samples
		p.mu.Unlock()
	}
}

func (p *process) status() (s status, err error) {
	c := http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get("http://" + p.api + "/api/v1/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s)
}

// end sends a signal and waits for the process.
func (p *process) end(sig os.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	err := p.cmd.Wait()
	p.cmd = nil
	close(p.quit)
	p.wait.Wait()
	if sig != os.Kill && err != nil {
		p.t.Errorf("the agent ended with %v:\n%s", err, p.log.String())
	}
	if strings.Contains(p.log.String(), "panic") {
		p.t.Errorf("the agent panicked:\n%s", p.log.String())
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}
