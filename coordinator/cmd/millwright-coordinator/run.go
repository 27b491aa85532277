package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/coordinator"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/boltstore"
)

// gcPercent trades some processor time, of which a coordinator has plenty between
// rounds, for memory: a third of the live heap may be garbage on top of it instead of all of
// it again. The variables GOGC and GOMEMLIMIT mean what they mean to every Go program.
const gcPercent = 30

func newRunCommand() *cobra.Command {
	var config configFile
	cmd := &cobra.Command{
		Use: "run", Short: "Coordinate until stopped (SIGTERM, Ctrl-C).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return coordinate(cmd.Context(), config, cmd.ErrOrStderr())
		},
	}
	config.flag(cmd.Flags())
	return cmd
}

// coordinate runs the coordinator until ctx ends; it logs to logs.
func coordinate(ctx context.Context, config configFile, logs io.Writer) (err error) {
	cfg, err := config.load()
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: cfg.Level()}))
	st, err := boltstore.Open(cfg.DataDir, boltstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	co, err := coordinator.New(cfg, st, log)
	if err != nil {
		return err
	}

	watched, unwatch := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { tellSystemd(watched, co.Ready(), st, log) })
	err = co.Run(ctx)
	unwatch()
	wg.Wait()
	return err
}

// tellSystemd reports readiness, then, if the unit has WatchdogSec, feeds the
// watchdog as long as the store answers, and reports the stop. Without systemd
// it waits for ctx.
func tellSystemd(ctx context.Context, ready <-chan struct{}, st store.Store, log *slog.Logger) {
	notify := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("cannot notify systemd", "state", state, "error", err)
		}
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	notify(daemon.SdNotifyReady)
	defer notify(daemon.SdNotifyStopping)

	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("cannot read the watchdog's interval", "error", err)
	}
	if interval <= 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		if err := answers(ctx, st); err == nil {
			notify(daemon.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			log.Error("not feeding the watchdog", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answers asks the store for something that need not be there.
func answers(ctx context.Context, st store.Store) error {
	if _, err := st.Get(ctx, "watchdog"); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("store does not answer: %w", err)
	}
	return nil
}
