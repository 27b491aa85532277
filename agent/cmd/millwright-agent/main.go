// Command millwright-agent watches the machines of one gateway.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/millwright-iot/millwright/agent"
)

// version is set by the linker.
var version = "devel"

// Exit codes.
const (
	exitFailure = 1 // at run time
	exitUsage   = 2 // bad configuration or command line
)

type cli struct {
	Run     runCmd     `cmd:"" help:"Watch the machines until stopped (SIGTERM, Ctrl-C)."`
	Check   checkCmd   `cmd:"" help:"Check a configuration, try everything it names, and say what it would do."`
	Sniff   sniffCmd   `cmd:"" help:"Listen to a broker and print a configuration for what is heard."`
	Test    testCmd    `cmd:"" help:"Show what the agent would make of payloads or recordings."`
	Record  recordCmd  `cmd:"" help:"Record the configured channels to a file."`
	Label   labelCmd   `cmd:"" help:"Tell the running agent what was true of a machine, or whether an alarm was right."`
	Sensors sensorsCmd `cmd:"" help:"List the buses of this box and the chips on them."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type configFlag struct {
	Config string `help:"Configuration file." short:"c" default:"/etc/millwright/agent.yaml" type:"path"`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	code := -1
	var c cli
	parser, err := kong.New(&c,
		kong.Name("millwright-agent"),
		kong.Description("Keeps machines healthy: reads their sensors, predicts on the spot, learns in place."),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { code = c }),
		kong.Vars{"user": userName(), "when": whenHelp},
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		fmt.Fprintln(stderr, "millwright-agent:", err)
		return exitFailure
	}
	ctx, err := parser.Parse(args)
	if code >= 0 {
		return code // help was asked for and given
	}
	if err == nil {
		err = ctx.Run()
	}
	var usage *usageError
	var parse *kong.ParseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.As(err, &parse):
		code = exitUsage
	default:
		code = exitFailure
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(stderr, "millwright-agent:", line)
	}
	return code
}

// usageError is a mistake in a configuration or on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

type runCmd struct{ configFlag }

// Run is called by kong.
func (c *runCmd) Run() error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return &usageError{err}
	}
	var level slog.LevelVar
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &level}))
	// On a single core a training run would hold the only place to run; with two,
	// the kernel gives the core to prediction, whose threads have priority.
	if runtime.NumCPU() == 1 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		cfg.Version = version
		if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
			return &usageError{err}
		}
		a, err := agent.New(cfg, log)
		if err != nil {
			return &usageError{err}
		}
		var next agent.Config
		if next, err = c.once(ctx, a, cfg, hangup, log); !errors.Is(err, agent.ErrReload) {
			return err
		}
		cfg = next
	}
}

// once runs an agent until it ends. When it is to begin anew, it returns the
// configuration to do so with: the file's, or still cfg while the file has mistakes.
func (c *runCmd) once(ctx context.Context, a *agent.Agent, cfg agent.Config, hangup <-chan os.Signal, log *slog.Logger) (agent.Config, error) {
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case err := <-done:
			if next, bad := c.reload(log); errors.Is(err, agent.ErrReload) && bad == nil {
				cfg = next
			}
			return cfg, err
		case <-hangup:
			if _, err := c.reload(log); err == nil {
				a.Reload()
			}
		}
	}
}

// reload reads the configuration again, and logs what is wrong with it.
func (c *runCmd) reload(log *slog.Logger) (agent.Config, error) {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			log.Error("configuration has a mistake; the one before stays in force", "problem", line)
		}
	}
	return cfg, err
}

type versionCmd struct{}

// Run is called by kong.
func (versionCmd) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "millwright-agent", version)
	return err
}
