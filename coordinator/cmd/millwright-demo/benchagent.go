package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	benchMachines = 4
	benchRateHz   = 10
	// benchWindowRows is a window of the agent's own job, 10 s.
	benchWindowRows = 10 * benchRateHz
	// benchPayloadBytes is the size the published comparisons of gateway agents
	// were made with.
	benchPayloadBytes = 148
	clockTicksPerS    = 100 // USER_HZ, fixed by the kernel's interface
)

// rig is an agent with a broker, without a coordinator.
type rig struct {
	procs  *procs
	agent  *proc
	api    string
	broker string
	kind   string // of the broker
}

// newRig starts the broker, Mosquitto where it is installed, and the agent.
func (o *benchOptions) newRig(ctx context.Context, dir string) (*rig, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	r := &rig{procs: newProcs(o.bin, dir), broker: ports[0], api: "http://" + ports[1], kind: "embedded broker"}
	if mosquitto, err := exec.LookPath("mosquitto"); err == nil {
		r.kind = "Mosquitto"
		conf := filepath.Join(dir, "mosquitto.conf")
		text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 1000000\n", r.broker[strings.LastIndex(r.broker, ":")+1:])
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if _, err = r.procs.start("broker", false, mosquitto, "-c", conf); err != nil {
			return nil, err
		}
	} else if _, err := r.procs.start("broker", false, "millwright-demo", "broker", "--listen", r.broker); err != nil {
		return nil, err
	}
	var s scenario
	for i := range benchMachines {
		m := machine{name: fmt.Sprintf("m%d", i), class: "bench", gateway: "bench"}
		for _, name := range benchColumns {
			m.channels = append(m.channels, channel{Name: name, Topic: "plant/" + m.name + "/row", Unit: "g", Format: "json", Path: name, TimePath: "t"})
		}
		s.machines = append(s.machines, m)
	}
	config := filepath.Join(dir, "agent.yaml")
	if err := writeAgent(config, filepath.Join(dir, "agent"), "", "bench", ports[1], addresses{broker: r.broker}, s); err != nil {
		return nil, err
	}
	if r.agent, err = r.procs.start("agent", false, "millwright-agent", "run", "--config", config); err != nil {
		return nil, err
	}
	d := demo{procs: r.procs, watch: newWatcher(r.api, os.Stderr)}
	if err := d.answers(ctx, r.api+"/healthz"); err != nil {
		return r, err
	}
	return r, r.subscribed(ctx)
}

// subscribed waits until the agent hears the broker, which may have begun to listen after
// its first try: what is sent before is nobody's.
func (r *rig) subscribed(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		now, err := r.counts(ctx)
		switch {
		case err != nil:
			return err
		case now.connected > 0:
			return nil
		case time.Since(began) > 30*time.Second:
			return fmt.Errorf("wait for the agent to subscribe at the broker: not after 30 s; see %s", r.procs.logDir)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-r.procs.died:
			return err
		case <-tick.C:
		}
	}
}

// benchColumns are so long that {"t":1700000000.000000,"ax":1.23…} with numbers of
// benchDigits has benchPayloadBytes.
var benchColumns = []string{"ax", "ay", "az", "bx", "by", "b"}

const benchDigits = 15

// benchAgent measures the binary and the memory of an agent that waits.
func (o *benchOptions) benchAgent(ctx context.Context, r *results) error {
	info, err := os.Stat(filepath.Join(o.bin, "millwright-agent"))
	if err != nil {
		return err
	}
	r.add("agent_binary_bytes", float64(info.Size()), "B", "stripped, static")
	dir, err := os.MkdirTemp("", "millwright-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rig, err := o.newRig(ctx, dir)
	if rig != nil {
		defer rig.procs.stopAll()
	}
	if err != nil {
		return err
	}
	select { // let it settle: connected, first garbage collection done
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
	}
	rss, err := memoryOf(rig.agent.cmd.Process.Pid, "VmRSS:")
	if err != nil {
		return err
	}
	r.add("agent_idle_rss_bytes", rss, "B", fmt.Sprintf("%d machines configured, broker connected, nothing to do", benchMachines))
	return nil
}

// benchPipeline sends messages through the broker to features and score, from
// as many senders as there are machines, on the cores all processes share.
func (o *benchOptions) benchPipeline(ctx context.Context, r *results) error {
	dir, err := os.MkdirTemp("", "millwright-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rows := o.messages / benchMachines
	sensors, err := writeRows(dir, rows)
	if err != nil {
		return err
	}
	rig, err := o.newRig(ctx, dir)
	if rig != nil {
		defer rig.procs.stopAll()
	}
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "sensorsim.yaml")
	if err := writeConfig(config, fmt.Sprintf("broker: tcp://%s\nmax_inflight: 200\n%s", rig.broker, sensors)); err != nil {
		return err
	}
	pid := rig.agent.cmd.Process.Pid
	cpu, err := cpuOf(pid)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := rig.procs.start("sensorsim", true, "sensorsim", "run", "--config", config); err != nil {
		return err
	}
	messages := float64(rows * benchMachines)
	// The first and the last window of each machine may be cut.
	windows := float64(benchMachines * (rows/benchWindowRows - 2))
	count, err := rig.await(ctx, messages, windows)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	after, err := cpuOf(pid)
	if err != nil {
		return err
	}
	peak, err := memoryOf(pid, "VmHWM:")
	if err != nil {
		return err
	}
	r.add("pipeline_messages_per_s", messages/took, "messages/s",
		fmt.Sprintf("%.0f JSON messages of %d B at QoS 1, %s, to features and score; all processes share the cores", messages, benchPayloadBytes, rig.kind))
	r.add("pipeline_cpu_us_per_message", 1e6*(after-cpu)/messages, "µs", "of the agent")
	r.add("pipeline_lost_messages", messages-count.messages+count.messagesDropped+count.samplesDropped/float64(len(benchColumns)), "messages", "never received, refused, or dropped from a full queue")
	r.add("pipeline_windows_scored", count.windows, "windows", "")
	r.add("pipeline_peak_rss_bytes", peak, "B", "of the agent")
	return nil
}

// counts are what the agent says of its messages.
type counts struct {
	messages, messagesDropped float64
	samplesDropped            float64 // for want of room
	windows                   float64
	connected                 float64 // 1: the broker sends
}

// await polls the agent's metrics until everything has been scored or nothing
// has changed for five seconds.
func (r *rig) await(ctx context.Context, messages, windows float64) (counts, error) {
	var last counts
	still := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := r.counts(ctx)
		if err != nil {
			return now, err
		}
		if now.messages+now.messagesDropped >= messages && now.windows >= windows {
			return now, nil
		}
		if now != last {
			last, still = now, time.Now()
		} else if time.Since(still) > 5*time.Second {
			return now, nil // the rest is lost, and is reported as such
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case err := <-r.procs.died:
			return now, err
		case <-tick.C:
		}
	}
}

func (r *rig) counts(ctx context.Context) (counts, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.api+"/metrics", nil)
	if err != nil {
		return counts{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return counts{}, fmt.Errorf("read the agent's metrics: %w", err)
	}
	defer resp.Body.Close()
	var c counts
	into := map[string]*float64{
		"millwright_messages_received_total":                    &c.messages,
		"millwright_messages_dropped_total":                     &c.messagesDropped,
		`millwright_samples_dropped_total{reason="queue_full"}`: &c.samplesDropped,
		"millwright_windows_total":                              &c.windows,
		"millwright_broker_connected":                           &c.connected,
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{")
		sum := into[series]
		if sum == nil {
			sum = into[name]
		}
		if sum == nil {
			continue
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return c, fmt.Errorf("read the agent's metric %q: %w", lines.Text(), err)
		}
		*sum += x
	}
	return c, lines.Err()
}

// writeRows makes one CSV file a machine and sensorsim's configuration for
// them. A row becomes a message of benchPayloadBytes.
func writeRows(dir string, rows int) (string, error) {
	var config strings.Builder
	config.WriteString("machines:\n")
	for i := range benchMachines {
		path := filepath.Join(dir, fmt.Sprintf("m%d.csv", i))
		if err := writeCSV(path, rows, uint64(i)); err != nil {
			return "", err
		}
		fmt.Fprintf(&config, "  - {name: m%d, replay: {file: %q, rate_hz: %d, speed: max}}\n", i, path, benchRateHz)
	}
	return config.String(), nil
}

func writeCSV(path string, rows int, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	rng := rand.New(rand.NewPCG(seed, 1))
	fmt.Fprintln(w, strings.Join(benchColumns, ","))
	for i := range rows {
		for j := range benchColumns {
			if j > 0 {
				w.WriteByte(',')
			}
			x := 1.5 + math.Sin(float64(i)/7+float64(j))/4 + rng.Float64()/100
			w.WriteString(strconv.FormatFloat(x, 'f', 20, 64)[:benchDigits-1])
			w.WriteByte(byte('1' + rng.IntN(9))) // no trailing zero to be lost
		}
		w.WriteByte('\n')
	}
	return w.Flush()
}

// cpuOf returns the processor seconds a process has used.
func cpuOf(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name may hold blanks
	fields := strings.Fields(rest)
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("read processor time from %q", data)
	}
	return (user + system) / clockTicksPerS, nil
}

// memoryOf returns a figure of /proc/pid/status in bytes.
func memoryOf(pid int, key string) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("read memory: no %s of process %d", key, pid)
}
