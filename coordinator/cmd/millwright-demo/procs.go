package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// procs starts child processes, notices when one ends on its own, and ends
// them in reverse order of their start.
type procs struct {
	binDir, logDir string

	mu      sync.Mutex
	running []*proc
	died    chan error // the first unexpected end
}

type proc struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	logPath string
	done    chan struct{} // closed when the process has ended
	err     error         // valid after done
	ending  bool          // guarded by procs.mu: its end is expected
}

// absolute makes paths independent of the folder a process is in.
func absolute(paths ...*string) error {
	for _, p := range paths {
		whole, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("find folder %q: %w", *p, err)
		}
		*p = whole
	}
	return nil
}

func newProcs(binDir, logDir string) *procs {
	return &procs{binDir: binDir, logDir: logDir, died: make(chan error, 1)}
}

// start runs a command of binDir, or at an absolute path, with its output in
// logDir/name.log. A process
// that may finish by itself (mayEnd) is not reported on died when it succeeds.
func (p *procs) start(name string, mayEnd bool, command string, args ...string) (*proc, error) {
	path := command
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.binDir, command)
	}
	logPath := filepath.Join(p.logDir, name+".log")
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close() // the child has its own descriptor
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = ownGroup()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (run `make build` first?)", name, err)
	}
	child := &proc{name: name, cmd: cmd, stdin: stdin, logPath: logPath, done: make(chan struct{})}
	p.mu.Lock()
	p.running = append(p.running, child)
	p.mu.Unlock()
	go func() {
		child.err = cmd.Wait()
		close(child.done)
		p.mu.Lock()
		expected := child.ending || (mayEnd && child.err == nil)
		p.mu.Unlock()
		if !expected {
			select {
			//nolint:errorlint // no error to wrap where it ended well
			case p.died <- fmt.Errorf("%s ended by itself (%v); its last words in %s:\n%s", name, errors.Join(child.err), logPath, tail(logPath)):
			default:
			}
		}
	}()
	return child, nil
}

// stopAll asks every process to end, the newest first, and kills what does not
// within five seconds.
func (p *procs) stopAll() {
	p.mu.Lock()
	running := p.running
	p.running = nil
	for _, c := range running {
		c.ending = true
	}
	p.mu.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		running[i].stop(5 * time.Second)
	}
}

func (c *proc) stop(grace time.Duration) {
	_ = c.cmd.Process.Signal(os.Interrupt) // fails only when it has ended already
	select {
	case <-c.done:
	case <-time.After(grace):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// output runs a command of binDir to its end and returns what it printed.
func (p *procs) output(ctx context.Context, command string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.binDir, command), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w\n%s", command, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(bytes.TrimSpace(out)), nil
}

// tail returns the last lines of a log.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-8):], []byte("\n")))
}

// freePorts returns n loopback addresses nobody listens on at the moment.
func freePorts(n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // held until all are found, so that they differ
		addresses[i] = l.Addr().String()
	}
	return addresses, nil
}
