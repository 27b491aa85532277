package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

type recordCmd struct {
	configFlag
	Out     string        `help:"File to write; it must not exist. A name in .gz is compressed." required:"" type:"path"`
	For     time.Duration `help:"How long to record." default:"1m"`
	MaxSize string        `help:"Stop when the recording is as large, before compression." default:"64MiB"`
	Channel []string      `help:"Only these channels, as machine/channel." placeholder:"MACHINE/CHANNEL"`
}

// errFull ends a recording that has reached its bound.
var errFull = errors.New("recording has reached its largest size")

// Run is called by kong.
func (c *recordCmd) Run(out io.Writer) error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return &usageError{err}
	}
	most, err := strictyaml.ParseSize(c.MaxSize)
	if err != nil || most < 1 {
		return &usageError{fmt.Errorf("--max-size: %q is not a size such as 64MiB", c.MaxSize)}
	}
	head := replay.RecordingHeader{Gateway: cfg.Gateway, Started: time.Now().UTC().Truncate(time.Millisecond)}
	for _, ch := range cfg.Recorded() {
		if len(c.Channel) == 0 || slices.Contains(c.Channel, ch.Machine+"/"+ch.Channel) {
			head.Channels = append(head.Channels, ch)
		}
	}
	if len(head.Channels) == 0 || len(c.Channel) > len(head.Channels) {
		return &usageError{fmt.Errorf("--channel: not all of %s are in the configuration; write them as machine/channel", strings.Join(c.Channel, ", "))}
	}
	file, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make recording: %w", err)
	}
	err = c.record(&cfg, head, file, int64(most), out)
	return errors.Join(err, file.Close())
}

func (c *recordCmd) record(cfg *agent.Config, head replay.RecordingHeader, file *os.File, most int64, out io.Writer) error {
	buffered := bufio.NewWriterSize(file, 64<<10)
	var to io.Writer = buffered
	var packed *gzip.Writer
	if strings.HasSuffix(c.Out, ".gz") {
		packed = gzip.NewWriter(buffered)
		to = packed
	}
	limited := &limitedWriter{w: to, left: most}
	recorder, err := replay.NewRecorder(limited, head)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	samples := map[string]int{}
	wanted := map[string]bool{}
	for _, ch := range head.Channels {
		wanted[ch.Machine+"/"+ch.Channel] = true
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err = cfg.Read(ctx, log, func(b sensors.Block) error {
		name := b.Machine + "/" + b.Channel
		if !wanted[name] {
			return nil
		}
		if err := recorder.Write(b); err != nil {
			return err
		}
		samples[name] += len(b.Samples)
		return nil
	})
	if errors.Is(err, errFull) {
		fmt.Fprintf(out, "stopped at %s: %v\n", c.MaxSize, errFull)
		err = nil
	}
	if packed != nil {
		err = errors.Join(err, packed.Close())
	}
	if err = errors.Join(err, buffered.Flush(), file.Sync()); err != nil {
		return err
	}
	for _, ch := range head.Channels {
		fmt.Fprintf(out, "%s/%s: %d samples\n", ch.Machine, ch.Channel, samples[ch.Machine+"/"+ch.Channel])
	}
	if len(samples) == 0 {
		return errors.New("nothing was heard; try millwright-agent check, or a longer --for")
	}
	return nil
}

// limitedWriter refuses what would exceed a bound, whole.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errFull
	}
	l.left -= int64(len(p))
	return l.w.Write(p)
}
