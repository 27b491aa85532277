package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/fedavg/cli"
)

func newRunCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use: "run", Short: "Watch the machines until stopped (SIGTERM, Ctrl-C).",
		RunE: func(cmd *cobra.Command, _ []string) error { return watch(cmd.Context(), config, cmd.ErrOrStderr()) },
	}
	configFlag(cmd.Flags(), &config)
	return cmd
}

// watch watches the machines of a configuration until ctx ends; it logs to logs.
func watch(ctx context.Context, path string, logs io.Writer) error {
	cfg, err := agent.LoadConfig(path)
	if err != nil {
		return cli.Usage(err)
	}
	var level slog.LevelVar
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: &level}))
	// On a single core a training run would hold the only place to run; with two,
	// the kernel gives the core to prediction, whose threads have priority.
	if runtime.NumCPU() == 1 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2)
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		cfg.Version = version
		if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
			return cli.Usage(err)
		}
		a, err := agent.New(cfg, log)
		if err != nil {
			return cli.Usage(err)
		}
		var next agent.Config
		if next, err = once(ctx, a, path, cfg, hangup, log); !errors.Is(err, agent.ErrReload) {
			return err
		}
		cfg = next
	}
}

// once runs an agent until it ends. When it is to begin anew, it returns the
// configuration to do so with: the file's, or still cfg while the file has mistakes.
func once(ctx context.Context, a *agent.Agent, path string, cfg agent.Config, hangup <-chan os.Signal, log *slog.Logger) (agent.Config, error) {
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case err := <-done:
			if next, bad := reload(path, log); errors.Is(err, agent.ErrReload) && bad == nil {
				cfg = next
			}
			return cfg, err
		case <-hangup:
			if _, err := reload(path, log); err == nil {
				a.Reload()
			}
		}
	}
}

// reload reads the configuration again, and logs what is wrong with it.
func reload(path string, log *slog.Logger) (agent.Config, error) {
	cfg, err := agent.LoadConfig(path)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			log.Error("configuration has a mistake; the one before stays in force", "problem", line)
		}
	}
	return cfg, err
}
