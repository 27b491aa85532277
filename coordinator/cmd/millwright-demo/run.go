package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

// runOptions are the flags of run.
type runOptions struct {
	rounds        int
	data          string
	bin, dir, out string
	seed          uint64
	agentCommands []string // for gateways of another architecture, under emulation
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "run", Short: "Run a federation with generated or recorded machines.",
		RunE: func(cmd *cobra.Command, _ []string) error { return o.demonstrate(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.IntVar(&o.rounds, "rounds", 0, "End after so many committed rounds of each job; 0 goes on until Ctrl-C.")
	f.StringVar(&o.data, "data", "", "`Folder` of SKAB recordings to replay instead of generated machines; each file is a machine.")
	f.StringVar(&o.bin, "bin", "build/bin", "`Folder` of the other commands.")
	f.StringVar(&o.dir, "dir", "build/demo", "`Folder` for configurations, data and logs; emptied first.")
	f.StringVar(&o.out, "out", "build/demo.json", "Summary as JSON.")
	f.Uint64Var(&o.seed, "seed", 1, "Seed of the generated machines.")
	f.StringArrayVar(&o.agentCommands, "agent-command", nil, "`Command` of the next gateway's agent instead of millwright-agent, such as 'qemu-arm build/cross/millwright-agent-linux-armv6'; repeatable.")
	return cmd
}

// recordedRounds is how many rounds a replay has when nobody says.
const recordedRounds = 3

// demonstrate fails unless every round committed, every fault was found and no
// healthy machine alarmed.
func (o *runOptions) demonstrate(ctx context.Context, out io.Writer) error {
	if o.data != "" {
		if err := cli.ExistingFolder("--data", o.data); err != nil {
			return err
		}
	}
	if err := absolute(&o.bin, &o.dir); err != nil {
		return err
	}
	s, err := o.scenario()
	if err != nil {
		return err
	}
	d, err := newDemo(o, s, out)
	if err != nil {
		return err
	}
	defer d.procs.stopAll()
	last, err := d.play(ctx)
	switch {
	case err != nil && ctx.Err() != nil && s.rounds == 0:
		fmt.Fprintln(d.out, "\nending all processes")
		return nil // Ctrl-C is how an endless demonstration ends
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted")
	}
	summary := summarize(s, last, err)
	summary.write(d.out)
	if err := errors.Join(err, summary.save(o.out)); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nAlso in %s; configurations and logs are in %s.\n", o.out, o.dir)
	return summary.verdict()
}

func (o *runOptions) scenario() (scenario, error) {
	if o.data == "" {
		return generatedScenario(time.Now(), o.seed, o.rounds), nil
	}
	if o.rounds == 0 {
		o.rounds = recordedRounds
	}
	return recordedScenario(o.data, o.rounds)
}

// demo is one demonstration under way.
type demo struct {
	scenario scenario
	agents   []string // commands, see runOptions
	dir      string
	at       addresses
	procs    *procs
	watch    *watcher
	out      io.Writer
}

func newDemo(o *runOptions, s scenario, out io.Writer) (*demo, error) {
	if err := os.RemoveAll(o.dir); err != nil {
		return nil, fmt.Errorf("empty the demonstration's folder: %w", err)
	}
	logs := filepath.Join(o.dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("make the demonstration's folder: %w", err)
	}
	ports, err := freePorts(3 + len(s.gateways()))
	if err != nil {
		return nil, err
	}
	at := addresses{broker: ports[0], coordinator: ports[1], page: ports[2], agents: ports[3:]}
	return &demo{
		scenario: s, agents: o.agentCommands, dir: o.dir, at: at, procs: newProcs(o.bin, logs), out: out,
		watch: newWatcher("http://"+at.page, out),
	}, nil
}

// play runs the scenario to its end and returns the last state of the
// federation.
func (d *demo) play(ctx context.Context) (fleet.Snapshot, error) {
	fmt.Fprintf(d.out, "Millwright: %s, %d machines on %d gateways.\n", d.scenario.name, len(d.scenario.machines), len(d.scenario.gateways()))
	if err := d.startServers(ctx); err != nil {
		return fleet.Snapshot{}, err
	}
	fmt.Fprintf(d.out, "Watch it at  http://%s  (Ctrl-C ends everything)\n\n", d.at.page)
	if err := d.startAgents(ctx); err != nil {
		return fleet.Snapshot{}, err
	}
	config := filepath.Join(d.dir, "sensorsim.yaml")
	if err := writeSensors(config, d.at, d.scenario); err != nil {
		return fleet.Snapshot{}, err
	}
	sensors, err := d.procs.start("sensorsim", true, "sensorsim", "run", "--config", config)
	if err != nil {
		return fleet.Snapshot{}, err
	}
	s := d.scenario
	if s.holds {
		if _, err := d.until(ctx, "every round to commit and its models to reach all machines", d.learned); err != nil {
			return fleet.Snapshot{}, err
		}
		d.watch.line("every machine runs the released model; now the rest of each recording")
		if _, err := io.WriteString(sensors.stdin, "continue\n"); err != nil {
			return fleet.Snapshot{}, fmt.Errorf("let the replay go on: %w", err)
		}
		return d.until(ctx, "the end of every recording", d.replayed)
	}
	if s.rounds == 0 {
		return d.watch.until(ctx, 365*24*time.Hour, d.procs.died, "Ctrl-C", func(fleet.Snapshot) bool { return false })
	}
	return d.until(ctx, "every round to commit and every fault to be found", func(now fleet.Snapshot) bool {
		return roundsDone(now) && d.faultsFound(now)
	})
}

func (d *demo) until(ctx context.Context, waitingFor string, done func(fleet.Snapshot) bool) (fleet.Snapshot, error) {
	return d.watch.until(ctx, d.scenario.limit, d.procs.died, waitingFor, done)
}

// startServers starts broker and coordinator and waits for the page.
func (d *demo) startServers(ctx context.Context) error {
	if _, err := d.procs.start("broker", false, "millwright-demo", "broker", "--listen", d.at.broker); err != nil {
		return err
	}
	config := d.coordinatorConfig()
	if err := writeCoordinator(config, filepath.Join(d.dir, "coordinator"), d.at, d.scenario); err != nil {
		return err
	}
	if _, err := d.procs.start("coordinator", false, "millwright-coordinator", "run", "--config", config); err != nil {
		return err
	}
	return d.answers(ctx, "http://"+d.at.page+"/healthz")
}

func (d *demo) coordinatorConfig() string { return filepath.Join(d.dir, "coordinator.yaml") }

// startAgents enrols and starts every gateway.
func (d *demo) startAgents(ctx context.Context) error {
	for i, gateway := range d.scenario.gateways() {
		token, err := d.procs.output(ctx, "millwright-coordinator", "token", "create", "--config", d.coordinatorConfig())
		if err != nil {
			return err
		}
		config, tokenFile := filepath.Join(d.dir, gateway+".yaml"), filepath.Join(d.dir, gateway+".token")
		if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
			return fmt.Errorf("write token: %w", err)
		}
		if err := writeAgent(config, filepath.Join(d.dir, gateway), tokenFile, gateway, d.at.agents[i], d.at, d.scenario); err != nil {
			return err
		}
		command := []string{"millwright-agent"}
		if i < len(d.agents) {
			if command, err = agentCommand(d.agents[i]); err != nil {
				return err
			}
		}
		if _, err := d.procs.start(gateway, false, command[0], append(command[1:], "run", "--config", config)...); err != nil {
			return err
		}
	}
	// A sensor does not wait for its gateway, and a broker without a subscriber
	// forgets; so the sensors start when everybody listens.
	for _, api := range d.at.agents {
		if err := d.answers(ctx, "http://"+api+"/api/v1/status"); err != nil {
			return err
		}
	}
	_, err := d.until(ctx, "every gateway to connect", func(s fleet.Snapshot) bool {
		connected := 0
		for _, g := range s.Gateways {
			if g.Connected {
				connected++
			}
		}
		return connected == len(d.scenario.gateways())
	})
	return err
}

// agentCommand splits a command line at blanks and finds its program.
func agentCommand(line string) ([]string, error) {
	command := strings.Fields(line)
	if len(command) == 0 {
		return nil, errors.New("--agent-command is empty")
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return nil, fmt.Errorf("--agent-command %q: %w", line, err)
	}
	command[0], err = filepath.Abs(program)
	return command, err
}

// answers waits until a GET of url succeeds.
func (d *demo) answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := d.watch.client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to answer: %w", url, ctx.Err())
		case err := <-d.procs.died:
			return err
		case <-tick.C:
		}
	}
}

// learned says that all rounds are committed and every machine runs the live
// job's newest model.
func (d *demo) learned(s fleet.Snapshot) bool {
	if !roundsDone(s) {
		return false
	}
	var newest uint64
	for _, j := range s.Jobs {
		if j.Name == d.scenario.jobs[0].Name {
			newest = j.Version
		}
	}
	for _, m := range d.scenario.machines {
		if state := machineOf(s, m.gateway, m.name); state == nil || state.ModelVersion != newest {
			return false
		}
	}
	return true
}

// replayed says that every machine has been scored to the end of its recording.
// The last row's own window stays open: nothing comes after it.
func (d *demo) replayed(s fleet.Snapshot) bool {
	for _, m := range d.scenario.machines {
		if state := machineOf(s, m.gateway, m.name); state == nil || state.At.Before(m.last) {
			return false
		}
	}
	return true
}

// faultsFound says that every machine with a fault has alarmed after it began, and that
// its status, which comes once a second, tells of it too.
func (d *demo) faultsFound(s fleet.Snapshot) bool {
	for _, m := range d.scenario.machines {
		if m.fault == "" {
			continue
		}
		delay, found := detection(m, episodes(s, m.name))
		if state := machineOf(s, m.gateway, m.name); !found || state == nil || state.At.Before(m.begins.Add(delay)) {
			return false
		}
	}
	return true
}
