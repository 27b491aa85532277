package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

// runsAgent is set for a process of this test that is to be an agent.
const runsAgent = "MILLWRIGHT_E2E_AGENT"

// serveAgent runs an agent until SIGTERM, as its command does.
func serveAgent(config string) error {
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var cfg agent.Config
	if err := json.Unmarshal(data, &cfg); err != nil {
		return err
	}
	a, err := agent.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return a.Run(ctx)
}

// victim is an agent in a process of its own, which can be killed.
type victim struct {
	t       *testing.T
	cfg     agent.Config
	log     *logBook
	process *exec.Cmd
	ended   chan error
}

func newVictim(t *testing.T, cfg agent.Config) *victim {
	t.Helper()
	v := &victim{t: t, cfg: cfg, log: &logBook{}}
	t.Cleanup(func() {
		v.kill()
		if t.Failed() {
			t.Logf("log of agent %s ends with\n%s", cfg.Gateway, v.log.tail())
		}
	})
	return v
}

// start runs the agent; at names the failpoint where it is to die, if anywhere.
func (v *victim) start(at string) {
	v.t.Helper()
	data, err := json.Marshal(v.cfg)
	if err != nil {
		v.t.Fatal(err)
	}
	config := filepath.Join(v.t.TempDir(), "agent.json")
	if err := os.WriteFile(config, data, 0o600); err != nil {
		v.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		v.t.Fatal(err)
	}
	v.process = exec.Command(self)
	v.process.Env = append(os.Environ(), runsAgent+"="+config, failpoint.Env+"="+at)
	v.process.Stderr = v.log
	if err := v.process.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.ended = make(chan error, 1)
	go func() { v.ended <- v.process.Wait() }()
}

// kill ends the process as a power cut would, if there is one.
func (v *victim) kill() {
	if v.process == nil {
		return
	}
	_ = v.process.Process.Kill() // it may have died meanwhile
	<-v.ended
	v.process = nil
}

// dies waits until the process was killed by its failpoint.
func (v *victim) dies() bool {
	v.t.Helper()
	err, ok := killed(v.ended)
	if ok {
		v.process = nil
	} else {
		v.t.Errorf("agent %s did not die where it was to: %v", v.cfg.Gateway, err)
	}
	return ok
}

// dies waits until the process was killed by its failpoint.
func (h *headquarters) dies() bool {
	h.t.Helper()
	err, ok := killed(h.ended)
	if ok {
		h.process = nil
	} else {
		h.t.Errorf("coordinator did not die where it was to: %v", err)
	}
	return ok
}

var errAlive = errors.New("it lives")

// killed waits for the end of a process and says whether it was SIGKILL.
func killed(ended chan error) (error, bool) {
	select {
	case err := <-ended:
		ended <- err // for whoever cleans up
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status, ok := exit.Sys().(syscall.WaitStatus)
			return err, ok && status.Signaled() && status.Signal() == syscall.SIGKILL
		}
		return err, false
	case <-time.After(patience):
		return errAlive, false
	}
}
