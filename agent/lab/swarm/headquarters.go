package swarm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/millwright-iot/millwright/fedavg/job"
)

// headquarters is the coordinator, a process of its own.
type headquarters struct {
	command      string
	config, page string
	agents       string // address for agents
	cmd          *exec.Cmd
	ended        chan error
	log          string
	client       http.Client
}

func startHeadquarters(ctx context.Context, cfg Config, spec job.Spec) (*headquarters, error) {
	agents, page, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	hq := &headquarters{
		command: cfg.Coordinator, config: filepath.Join(cfg.Dir, "coordinator.yaml"), log: filepath.Join(cfg.Dir, "coordinator.log"),
		page: "http://" + page, agents: agents, ended: make(chan error, 1), client: http.Client{Timeout: 30 * time.Second},
	}
	text, err := yaml.Marshal(map[string]any{
		"data_dir": filepath.Join(cfg.Dir, "coordinator"), "listen": agents, "hosts": []string{"127.0.0.1"},
		"web": map[string]string{"listen": page}, "limits": map[string]int{"max_agents": cfg.Agents + 16}, "jobs": []job.Spec{spec},
	})
	if err != nil {
		return nil, fmt.Errorf("start coordinator: %w", err)
	}
	if err := errors.Join(os.MkdirAll(cfg.Dir, 0o700), os.WriteFile(hq.config, text, 0o600)); err != nil {
		return nil, fmt.Errorf("start coordinator: %w", err)
	}
	out, err := os.Create(hq.log)
	if err != nil {
		return nil, fmt.Errorf("start coordinator: %w", err)
	}
	defer out.Close() // the process has its own descriptor
	hq.cmd = exec.CommandContext(context.WithoutCancel(ctx), cfg.Coordinator, "run", "--config", hq.config)
	hq.cmd.Stdout, hq.cmd.Stderr = out, out
	if err := hq.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start coordinator: %w", err)
	}
	go func() { hq.ended <- hq.cmd.Wait() }()
	for {
		if resp, err := hq.get(ctx, "/healthz"); err == nil {
			resp.Body.Close()
			return hq, nil
		}
		select {
		case <-ctx.Done():
			hq.stop()
			return nil, ctx.Err()
		case err := <-hq.ended:
			return nil, hq.early(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePorts(ctx context.Context) (a, b string, err error) {
	var found [2]string
	for i := range found {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		found[i] = l.Addr().String()
	}
	return found[0], found[1], nil
}

// early is the error of a coordinator that ended by itself, with its last words.
func (hq *headquarters) early(err error) error {
	said, _ := os.ReadFile(hq.log) // without them the error still says what happened
	//nolint:errorlint // no error to wrap where it ended well
	return fmt.Errorf("coordinator ended by itself (%v):\n%s", err, said[max(0, len(said)-2000):])
}

// stop ends the coordinator and waits for it.
func (hq *headquarters) stop() {
	_ = hq.cmd.Process.Signal(os.Interrupt) // fails only when it has ended
	select {
	case <-hq.ended: //nolint:errcheck // was asked to end
	case <-time.After(20 * time.Second):
		_ = hq.cmd.Process.Kill()
		<-hq.ended //nolint:errcheck // was killed
	}
}

// token creates one that enrols every agent.
func (hq *headquarters) token(ctx context.Context, uses int) (string, error) {
	out, err := exec.CommandContext(ctx, hq.command, "token", "create", "--config", hq.config, "--uses", strconv.Itoa(uses)).Output()
	if err != nil {
		return "", fmt.Errorf("create token: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (hq *headquarters) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, hq.page+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := hq.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("ask the coordinator for %s: %s", path, resp.Status)
	}
	return resp, nil
}

// follow fills in result as agents become ready and rounds commit.
func (hq *headquarters) follow(ctx context.Context, cfg Config, began time.Time, result *Result) error {
	tick := time.NewTicker(time.Second) // the metrics of thousands of agents are work too
	defer tick.Stop()
	seen := 0
	for {
		phases, err := hq.phases(ctx)
		if err != nil {
			return err
		}
		if result.ConnectS == 0 && phases.ready >= cfg.Agents {
			result.ConnectS = time.Since(began).Seconds()
			fmt.Fprintf(cfg.Progress, "all agents ready after %.1f s\n", result.ConnectS)
		}
		if phases.committed > seen {
			rss, err := hq.peakMemory()
			if err != nil {
				return err
			}
			result.PeakRSSBytes = max(result.PeakRSSBytes, rss)
			if err := hq.rounds(ctx, result, rss); err != nil {
				return err
			}
			seen = len(result.Rounds)
			fmt.Fprintf(cfg.Progress, "round %d committed, coordinator took up to %.0f MB\n", seen, float64(rss)/1e6)
		}
		if seen >= cfg.Rounds {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-hq.ended:
			hq.ended <- err
			return hq.early(err)
		case <-tick.C:
		}
	}
}

// roundDocument is what the API says of a round.
type roundDocument struct {
	Round        uint64
	State        string
	Seconds      float64
	BytesIn      uint64             `json:"bytes_in"`
	BytesOut     uint64             `json:"bytes_out"`
	Phases       map[string]float64 `json:"phases_s"`
	Participants []struct {
		State   string
		Seconds float64
	}
}

// rounds reads the committed rounds that result lacks.
func (hq *headquarters) rounds(ctx context.Context, result *Result, rss uint64) error {
	resp, err := hq.get(ctx, "/api/v1/rounds")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var doc struct{ Rounds []roundDocument }
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return fmt.Errorf("read rounds: %w", err)
	}
	for i := len(doc.Rounds) - 1; i >= 0; i-- {
		r := doc.Rounds[i]
		if r.State != "committed" || r.Round <= uint64(len(result.Rounds)) {
			continue
		}
		line := Round{Round: r.Round, Bytes: r.BytesIn + r.BytesOut, RSSBytes: rss, VerifyS: r.Phases["verify"], AggregateS: r.Phases["aggregate"], StoreS: r.Phases["store"]}
		for _, p := range r.Participants {
			if p.State == "received" {
				line.Participants++
				line.TransferS = max(line.TransferS, p.Seconds)
			}
		}
		line.CloseS = r.Seconds - line.TransferS
		result.Rounds = append(result.Rounds, line)
	}
	return nil
}

type phases struct{ ready, committed int }

// phases reads from the metrics how far the swarm is: cheaper than the API,
// which lists every agent.
func (hq *headquarters) phases(ctx context.Context) (phases, error) {
	var p phases
	resp, err := hq.get(ctx, "/metrics")
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		into := map[string]*int{
			`millwright_coordinator_ready_gateways{job="swarm"}`: &p.ready,
			`millwright_coordinator_model_version{job="swarm"}`:  &p.committed,
		}[name]
		if into == nil {
			continue
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return p, fmt.Errorf("read metric %q: %w", lines.Text(), err)
		}
		*into = int(x)
	}
	return p, lines.Err()
}

// peakMemory returns the most memory that was resident in the coordinator since the
// last call, or since its start.
func (hq *headquarters) peakMemory() (uint64, error) {
	dir := fmt.Sprintf("/proc/%d/", hq.cmd.Process.Pid)
	data, err := os.ReadFile(dir + "status")
	if err == nil {
		err = os.WriteFile(dir+"clear_refs", []byte("5"), 0) // begins anew to look for the peak; see proc(5)
	}
	if err != nil {
		return 0, fmt.Errorf("read the coordinator's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("read the coordinator's memory: no VmHWM")
}
