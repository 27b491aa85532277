// Command millwright-coordinator is headquarters: it enrols gateways, runs
// rounds, releases models and shows the fleet.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/millwright-iot/millwright/coordinator"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = ""

// Exit codes.
const (
	exitFailure = 1 // at run time
	exitUsage   = 2 // bad configuration or command line
)

type cli struct {
	Run     runCmd     `cmd:"" help:"Coordinate until stopped (SIGTERM, Ctrl-C)."`
	Check   checkCmd   `cmd:"" help:"Check a configuration and say what it would do."`
	Token   tokenCmd   `cmd:"" help:"Let gateways enrol."`
	Gateway gatewayCmd `cmd:"" help:"Look after enrolled gateways."`

	Quarantine quarantineCmd `cmd:"" help:"Look after gateways whose updates do not count."`
	Forget     forgetCmd     `cmd:"" help:"Take out of the models what a gateway contributed. The coordinator must be running."`

	Version versionCmd `cmd:"" help:"Print the version."`
}

type configFlag struct {
	Config string `help:"Configuration file." short:"c" default:"/etc/millwright/coordinator.yaml" type:"path"`
}

// load reads the configuration; its errors are the user's.
func (f configFlag) load() (coordinator.Config, error) {
	cfg, err := coordinator.LoadConfig(f.Config)
	if err != nil {
		return coordinator.Config{}, &usageError{err}
	}
	cfg.Version = buildVersion()
	return cfg, nil
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

func main() { os.Exit(run(os.Args[1:], streams{os.Stdout, os.Stderr})) }

// run is main with its surroundings as arguments; it returns the exit code.
func run(args []string, std streams) int {
	code := -1
	parser, err := kong.New(&cli{},
		kong.Name("millwright-coordinator"),
		kong.Description("Merges what all plants learned into better models and hands them back."),
		kong.UsageOnError(),
		kong.Writers(std.out, std.err),
		kong.Exit(func(c int) { code = c }),
		kong.Bind(std),
	)
	if err != nil {
		return complain(std, err, exitFailure)
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
	return complain(std, err, code)
}

// complain writes an error, each line of it under the program's name, and
// returns the exit code.
func complain(std streams, err error, code int) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if _, err := fmt.Fprintln(std.err, "millwright-coordinator:", line); err != nil {
			break // nobody hears it; the exit code remains
		}
	}
	return code
}

// usageError is a mistake in a configuration or on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

type checkCmd struct{ configFlag }

// Run is called by kong.
func (c *checkCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is good.\n", c.Config)
	fmt.Fprintf(&b, "  data in %s; agents connect to %s as %s; page on http://%s/\n",
		cfg.DataDir, cfg.Listen, strings.Join(cfg.Hosts, ", "), cfg.Web.Listen)
	if len(cfg.Jobs) == 0 {
		b.WriteString("  no jobs: gateways enrol and are watched, nothing is learned together\n")
	}
	for _, j := range cfg.Jobs {
		j = j.WithDefaults()
		fmt.Fprintf(&b, "  job %s (%s): a %s model of %d features for class %s, a round every %v with %d or more gateways\n",
			j.Name, j.Role, j.Model.Kind, len(j.Features.Names()), j.Class, j.Rounds.Every, j.Rounds.MinParticipants)
	}
	_, err = io.WriteString(std.out, b.String())
	return err
}

type versionCmd struct{}

// Run is called by kong.
func (versionCmd) Run(std streams) error {
	_, err := fmt.Fprintf(std.out, "millwright-coordinator %s (%s %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// buildVersion is what the linker was told, else the module's version, else the
// commit the binary was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	text := "devel"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			text += "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			text += "-modified"
		}
	}
	return text
}
