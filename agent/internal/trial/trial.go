// Package trial shows what the agent would make of payloads and recordings that a person
// has: parsed values, unit conversions, windows, features, score. It runs the agent's
// own code, and keeps nothing.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/replay"
)

// Options tunes a Trial.
type Options struct {
	// Channel as machine/channel; empty: every channel of the configuration.
	Channel string
	// Every is the time between two payloads that tell none themselves.
	Every time.Duration
	// Baseline, if set, replaces the number of windows of every machine.
	Baseline int
}

// Trial takes files and prints what the agent would make of them.
type Trial struct {
	out      io.Writer
	opts     Options
	channels []*channel
	machines map[string]*machine
	clock    time.Time // arrival of the next payload
	samples  int
}

// channel is one channel that payloads are tried on.
type channel struct {
	mqttsource.Channel
	decoder *decode.Decoder
	born    bool // Sparkplug: the decoder has had a birth
}

// machine is a machine under trial.
type machine struct {
	*pipeline.Machine
	run func(sensors.Block)
}

// New makes a Trial of a configuration that prints to out.
func New(cfg agent.Config, opts Options, out io.Writer) (*Trial, error) {
	t := &Trial{out: out, opts: opts, machines: map[string]*machine{}, clock: time.Now().UTC().Truncate(time.Second)}
	if opts.Every <= 0 {
		t.opts.Every = time.Second
	}
	wanted := func(m, ch string) bool { return opts.Channel == "" || opts.Channel == m+"/"+ch }
	var known []string
	for i := range cfg.Machines {
		m := &cfg.Machines[i]
		if opts.Baseline > 0 {
			m.Baseline = opts.Baseline
		}
		var names []string
		for _, ch := range m.Channels {
			known = append(known, m.Name+"/"+ch.Name)
			if wanted(m.Name, ch.Name) {
				names = append(names, ch.Name)
			}
		}
		for _, ch := range m.Messages() {
			if !wanted(m.Name, ch.Channel) {
				continue
			}
			known = append(known, m.Name+"/"+ch.Channel)
			names = append(names, ch.Channel)
			d, err := decode.New(ch.Decode)
			if err != nil {
				return nil, err
			}
			t.channels = append(t.channels, &channel{Channel: ch, decoder: d})
		}
		if len(names) == 0 {
			continue
		}
		slices.Sort(names)
		one, err := t.machine(m, slices.Compact(names))
		if err != nil {
			return nil, err
		}
		t.machines[m.Name] = one
	}
	if len(t.machines) == 0 {
		return nil, fmt.Errorf("no channel %q in the configuration; there are %s", opts.Channel, strings.Join(slices.Compact(known), ", "))
	}
	return t, nil
}

func (t *Trial) machine(m *agent.MachineConfig, channels []string) (*machine, error) {
	// A channel alone is looked at alone: windows wait for no other.
	var only []string
	if t.opts.Channel != "" {
		only = channels
	}
	p, err := m.Try(only, &printer{out: t.out}, slog.New(slog.NewTextHandler(t.out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	return &machine{Machine: p, run: p.Process}, nil
}

// File takes one file: a recording, or the payload of one message. It gives up when ctx ends.
func (t *Trial) File(ctx context.Context, path string) error {
	data, err := head(path)
	if err != nil {
		return err
	}
	if replay.IsRecording(data) || strings.HasSuffix(path, ".gz") {
		return t.recording(ctx, path)
	}
	if data, err = os.ReadFile(path); err != nil {
		return err
	}
	return t.payload(path, data)
}

func head(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, 256)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil
}

func (t *Trial) recording(ctx context.Context, path string) error {
	r, err := replay.OpenRecording(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := r.Header()
	fmt.Fprintf(t.out, "%s: recorded by %s at %s\n", path, h.Gateway, h.Started.Format(time.RFC3339))
	counts := map[string]int{}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		m := t.machines[b.Machine]
		if m == nil || t.opts.Channel != "" && t.opts.Channel != b.Machine+"/"+b.Channel {
			counts[b.Machine+"/"+b.Channel+" (left out: not in the configuration, or not asked for)"] += len(b.Samples)
			continue
		}
		counts[b.Machine+"/"+b.Channel] += len(b.Samples)
		t.samples += len(b.Samples)
		m.run(b)
	}
	for _, name := range sortedKeys(counts) {
		fmt.Fprintf(t.out, "  %s: %d samples\n", name, counts[name])
	}
	if r.Torn() {
		fmt.Fprintln(t.out, "  the recording broke off in the middle of a block")
	}
	return nil
}

// Finish prints what waits, and fails if nothing at all was read.
func (t *Trial) Finish() error {
	for _, name := range sortedKeys(t.machines) {
		s := t.machines[name].Status()
		fmt.Fprintf(t.out, "%s: %s, %d windows, %d of %d baseline windows; %d samples used, %d waiting for their window, dropped %v\n",
			name, s.State, s.Windows, s.Have, s.Want, s.Counts.Used, s.Counts.Stored, nonZero(s.Counts.Dropped))
		for _, ch := range sortedKeys(s.Absent) {
			fmt.Fprintf(t.out, "  channel %s was silent too long in %d windows: it needs more data, or a longer window\n", ch, s.Absent[ch])
		}
	}
	if t.samples == 0 {
		return errors.New("no file gave a sample; see above for the reason of each channel")
	}
	return nil
}
