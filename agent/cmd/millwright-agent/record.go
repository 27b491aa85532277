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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/fedavg/cli"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

type recordOptions struct {
	config, out string
	wait        time.Duration
	maxSize     string
	channels    []string
}

func newRecordCommand() *cobra.Command {
	var o recordOptions
	cmd := &cobra.Command{
		Use: "record --out FILE", Short: "Record the configured channels to a file.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return record(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	configFlag(f, &o.config)
	f.StringVar(&o.out, "out", "", "`File` to write; it must not exist. A name in .gz is compressed.")
	cli.Require(cmd, "out")
	f.DurationVar(&o.wait, "for", time.Minute, "How long to record.")
	f.StringVar(&o.maxSize, "max-size", "64MiB", "Stop when the recording is as large, before compression.")
	f.StringSliceVar(&o.channels, "channel", nil, "Only these channels, as `machine/channel`.")
	return cmd
}

// errFull ends a recording that has reached its bound.
var errFull = errors.New("recording has reached its largest size")

// record prints to out what it recorded, and logs to logs.
func record(ctx context.Context, o recordOptions, out, logs io.Writer) error {
	cfg, err := agent.LoadConfig(o.config)
	if err != nil {
		return cli.Usage(err)
	}
	most, err := strictyaml.ParseSize(o.maxSize)
	if err != nil || most < 1 {
		return cli.Usage(fmt.Errorf("--max-size: %q is not a size such as 64MiB", o.maxSize))
	}
	head := replay.RecordingHeader{Gateway: cfg.Gateway, Started: time.Now().UTC().Truncate(time.Millisecond)}
	for _, ch := range cfg.Recorded() {
		if len(o.channels) == 0 || slices.Contains(o.channels, ch.Machine+"/"+ch.Channel) {
			head.Channels = append(head.Channels, ch)
		}
	}
	if len(head.Channels) == 0 || len(o.channels) > len(head.Channels) {
		return cli.Usage(fmt.Errorf("--channel: not all of %s are in the configuration; write them as machine/channel", strings.Join(o.channels, ", ")))
	}
	file, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make recording: %w", err)
	}
	err = o.write(ctx, &cfg, head, file, int64(most), out, logs)
	return errors.Join(err, file.Close())
}

func (o *recordOptions) write(ctx context.Context, cfg *agent.Config, head replay.RecordingHeader, file *os.File, most int64, out, logs io.Writer) error {
	buffered := bufio.NewWriterSize(file, 64<<10)
	var to io.Writer = buffered
	var packed *gzip.Writer
	if strings.HasSuffix(o.out, ".gz") {
		packed = gzip.NewWriter(buffered)
		to = packed
	}
	limited := &limitedWriter{w: to, left: most}
	recorder, err := replay.NewRecorder(limited, head)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	samples := map[string]int{}
	wanted := map[string]bool{}
	for _, ch := range head.Channels {
		wanted[ch.Machine+"/"+ch.Channel] = true
	}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn}))
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
		fmt.Fprintf(out, "stopped at %s: %v\n", o.maxSize, errFull)
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
