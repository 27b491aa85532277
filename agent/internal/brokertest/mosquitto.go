// Package brokertest runs a real Mosquitto for tests, and kills it when they say so.
package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Mosquitto is a broker on loopback. Its methods are for one goroutine.
type Mosquitto struct {
	t    testing.TB
	path string
	conf string
	port int
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// New prepares a broker with extra lines of configuration; anonymous clients are let in
// unless these say otherwise. It skips the test where Mosquitto is not installed.
// The caller starts it; the end of the test stops it.
func New(t testing.TB, extra ...string) *Mosquitto {
	t.Helper()
	dir := t.TempDir()
	m := &Mosquitto{t: t, path: program(t, "mosquitto"), port: freePort(t), conf: filepath.Join(dir, "mosquitto.conf")}
	lines := append([]string{fmt.Sprintf("listener %d 127.0.0.1", m.port)}, extra...)
	if !strings.Contains(strings.Join(lines, "\n"), "allow_anonymous") {
		lines = append(lines, "allow_anonymous true")
	}
	if os.Getuid() == 0 {
		lines = append(lines, "user root") // else it cannot read the test's files
	}
	if err := os.WriteFile(m.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

// Start starts a broker with extra lines of configuration and waits until it listens.
func Start(t testing.TB, extra ...string) *Mosquitto {
	t.Helper()
	m := New(t, extra...)
	m.Run()
	return m
}

func program(t testing.TB, name string) string {
	t.Helper()
	for _, p := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// freePort returns a loopback port that was free a moment ago: Mosquitto cannot be
// told to choose one and say which.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Address is host:port.
func (m *Mosquitto) Address() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }

// Run starts the broker, again after Stop or Kill, and waits until it listens.
func (m *Mosquitto) Run() {
	m.t.Helper()
	m.cmd = exec.Command(m.path, "-c", m.conf)
	m.cmd.Stderr = &m.out
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", m.Address())
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}

// Stop ends the broker in order: it saves what it has, if it is persistent.
func (m *Mosquitto) Stop() { m.end(syscall.SIGTERM) }

// Kill ends the broker as a power cut would.
func (m *Mosquitto) Kill() { m.end(syscall.SIGKILL) }

// Signal sends a signal that does not end the broker, such as SIGUSR1: save now.
func (m *Mosquitto) Signal(s os.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Mosquitto) end(s os.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(s)
	_ = m.cmd.Wait()
	m.cmd = nil
}

// Subscription is a running mosquitto_sub: a client that is none of ours.
type Subscription struct {
	mu    sync.Mutex
	lines []string
}

// Subscribe listens to filters with mosquitto_sub, formatted by format (see its manual:
// %t topic, %p payload, %x payload in hex, %r retained, %q QoS), until the test ends.
// It waits until the broker has granted them.
func (m *Mosquitto) Subscribe(format string, filters ...string) *Subscription {
	m.t.Helper()
	const probe = "brokertest/probe"
	at := []string{"-h", "127.0.0.1", "-p", fmt.Sprint(m.port)}
	args := slices.Concat(at, []string{"-q", "1", "-F", "%t=" + format, "-t", probe})
	for _, f := range filters {
		args = append(args, "-t", f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program(m.t, "mosquitto_sub"), args...)
	granted := make(chan struct{})
	s := &Subscription{}
	w := &lineWriter{each: func(line string) {
		topic, text, _ := strings.Cut(line, "=")
		if topic == probe {
			select {
			case <-granted:
			default:
				close(granted)
			}
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, text)
	}}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		cancel()
		m.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	m.t.Cleanup(func() { cancel(); <-done })
	// It does not say when the broker has granted the filters: try until it hears.
	pub := program(m.t, "mosquitto_pub")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		_ = exec.Command(pub, slices.Concat(at, []string{"-t", probe, "-m", "?"})...).Run()
		select {
		case <-granted:
			return s
		case <-time.After(20 * time.Millisecond):
		}
	}
	m.t.Fatal("mosquitto_sub is not subscribed")
	return nil
}

// Lines returns what was heard so far, one line a message.
func (s *Subscription) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// lineWriter calls each for every line written to it.
type lineWriter struct {
	each func(string)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.each(string(w.rest[:i]))
		w.rest = w.rest[i+1:]
	}
}
