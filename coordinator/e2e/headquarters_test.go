package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/millwright-iot/millwright/coordinator"
	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/store/boltstore"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// runsCoordinator is set for a process of this test that is to be a coordinator:
// one that can be killed.
const runsCoordinator = "MILLWRIGHT_E2E_COORDINATOR"

func TestMain(m *testing.M) {
	if config := os.Getenv(runsCoordinator); config != "" {
		if err := serveCoordinator(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if config := os.Getenv(runsAgent); config != "" {
		if err := serveAgent(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// at is where a coordinator listens; its process prints it when it is ready.
type at struct{ Agents, Page string }

// serveCoordinator runs a coordinator until SIGTERM, as its command does.
func serveCoordinator(config string) error {
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var cfg coordinator.Config
	if err := json.Unmarshal(data, &cfg); err != nil {
		return err
	}
	st, err := boltstore.Open(cfg.DataDir, boltstore.Options{})
	if err != nil {
		return err
	}
	defer st.Close()
	c, err := coordinator.New(cfg, st, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	go func() {
		<-c.Ready()
		_ = json.NewEncoder(os.Stdout).Encode(at{c.AgentAddr(), c.WebAddr()}) // nobody there: the test is over
	}()
	return c.Run(ctx)
}

// headquarters is a coordinator in a process of its own, and the fixed address
// under which agents reach whichever process is running.
type headquarters struct {
	t     *testing.T
	dir   string
	jobs  []job.Spec
	relay *relay
	log   *logBook

	process *exec.Cmd
	ended   chan error
	page    string
	// failpoint is where the next process is to die, if anywhere.
	failpoint string
}

func newHeadquarters(t *testing.T, dir string, jobs []job.Spec) *headquarters {
	t.Helper()
	h := &headquarters{t: t, dir: filepath.Join(dir, "hq"), jobs: jobs, relay: newRelay(t), log: &logBook{}}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("log of the coordinator ends with\n%s", h.log.tail())
		}
	})
	return h
}

func (h *headquarters) start() {
	h.t.Helper()
	if err := h.launch(); err != nil {
		h.t.Fatalf("coordinator did not start: %v\n%s", err, h.log)
	}
}

// launch is start for a coordinator that may not live to be ready.
func (h *headquarters) launch() error {
	h.t.Helper()
	cfg := coordinator.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.Web.Listen, cfg.Jobs = h.dir, "127.0.0.1:0", "127.0.0.1:0", h.jobs
	cfg.Keep.Models, cfg.Keep.Rounds = 10000, 10000 // all of it is compared
	data, err := json.Marshal(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	config := filepath.Join(h.t.TempDir(), "coordinator.json")
	if err := os.WriteFile(config, data, 0o600); err != nil {
		h.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	h.process = exec.Command(self)
	h.process.Env = append(os.Environ(), runsCoordinator+"="+config, failpoint.Env+"="+h.failpoint)
	h.process.Stderr = h.log
	out, err := h.process.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.process.Start(); err != nil {
		h.t.Fatal(err)
	}
	var where at
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &where)
	}
	h.ended = make(chan error, 1)
	go func() { h.ended <- h.process.Wait() }()
	if err != nil {
		return err
	}
	h.page = "http://" + where.Page
	h.relay.to(where.Agents)
	return nil
}

// stop ends the process as an operator would.
func (h *headquarters) stop() {
	h.t.Helper()
	if err := h.process.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
	if err := <-h.ended; err != nil {
		h.t.Errorf("coordinator ended with %v", err)
	}
	h.process = nil
}

// kill ends the process as a power cut would.
func (h *headquarters) kill() {
	h.t.Helper()
	if h.process == nil {
		return
	}
	if err := h.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		h.t.Fatal(err)
	}
	<-h.ended
	h.process = nil
}

// token makes a file with a token for so many gateways.
func (h *headquarters) token(uses int) string {
	h.t.Helper()
	var text string
	var err error
	eventually(h.t, "a token", func() bool { // the socket comes a moment after the ports
		text, err = enrol.NewAdmin(h.dir).CreateToken(h.t.Context(), enrol.TokenOptions{Uses: uses})
		return err == nil
	}, func() string { return fmt.Sprint(err) })
	file := filepath.Join(h.t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return file
}

func (h *headquarters) snapshot() (s fleet.Snapshot) {
	h.t.Helper()
	if err := getJSON(h.page+"/api/v1/snapshot", &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// waitFor waits for a state of the fleet.
func (h *headquarters) waitFor(what string, ok func(fleet.Snapshot) bool) fleet.Snapshot {
	h.t.Helper()
	var s fleet.Snapshot
	eventually(h.t, what, func() bool { s = h.snapshot(); return ok(s) }, func() string {
		text, _ := json.MarshalIndent(s, "", " ") // made from JSON
		return string(text)
	})
	return s
}

// model returns the bytes of a committed model.
func (h *headquarters) model(job string, version uint64) []byte {
	h.t.Helper()
	resp, err := web.Get(fmt.Sprintf("%s/api/v1/models/%s/%d.safetensors", h.page, job, version))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("model %s version %d: %s, %v", job, version, resp.Status, err)
	}
	return data
}
