package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/millwright-iot/millwright"

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath                         string
	Dir                                string
	Imports, TestImports, XTestImports []string
	Deps                               []string // of the package itself, all the way down
	CgoFiles                           []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// room is the first element of a package's path in the module, such as "agent".
func (p listed) room() string {
	room, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, module+"/"), "/")
	return room
}

// within says whether path is dir of the module or below it.
func within(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return path == module+"/"+dir || strings.HasPrefix(path, module+"/"+dir+"/")
	})
}

// from says whether path is one of the given packages or below one.
func from(path string, packages ...string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		return path == p || strings.HasPrefix(path, p+"/")
	})
}

// door is a rule of DESIGN.md, "Doors that stay shut". shut returns what is wrong
// with p, for a person, or nothing.
type door struct {
	name string
	shut func(p listed) []string
}

// neverDepends forbids packages in who to depend on what, at any depth, and their
// tests to import it.
func neverDepends(who, what func(path string) bool) func(listed) []string {
	return func(p listed) (found []string) {
		if !who(p.ImportPath) {
			return nil
		}
		for _, d := range slices.Concat(p.Deps, p.TestImports, p.XTestImports) {
			if what(d) {
				found = append(found, "depends on "+d)
			}
		}
		return found
	}
}

// onlyIn allows an import in the given directories of the module alone.
func onlyIn(what func(path string) bool, dirs ...string) func(listed) []string {
	return func(p listed) (found []string) {
		if within(p.ImportPath, dirs...) {
			return nil
		}
		for _, d := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if what(d) {
				found = append(found, "imports "+d)
			}
		}
		return found
	}
}

func inside(dirs ...string) func(string) bool {
	return func(path string) bool { return within(path, dirs...) }
}

func of(packages ...string) func(string) bool {
	return func(path string) bool { return from(path, packages...) }
}

func both(a, b func(string) bool) func(string) bool {
	return func(path string) bool { return a(path) && b(path) }
}

func not(f func(string) bool) func(string) bool {
	return func(path string) bool { return !f(path) }
}

var doors = []door{
	{"sensors does not know fedavg", neverDepends(inside("sensors"), inside("fedavg"))},
	{"fedavg does not know sensors", neverDepends(inside("fedavg"), inside("sensors"))},
	{"the libraries do not know the processes", neverDepends(inside("sensors", "fedavg"), inside("agent", "coordinator"))},
	{"agent does not know coordinator", neverDepends(inside("agent"), inside("coordinator"))},
	{"coordinator does not know agent", neverDepends(
		both(inside("coordinator"), not(inside("coordinator/e2e", "coordinator/cmd/millwright-demo"))), inside("agent"))},
	{"fedavg has no network and no wire format", neverDepends(
		both(inside("fedavg"), not(inside("fedavg/fedpb", "fedavg/fedrpc", "fedavg/cli"))), // flags can hold addresses
		of("net", "crypto/tls", "google.golang.org/grpc", "google.golang.org/protobuf"))},
	{"sensors has no wire format of ours", neverDepends(inside("sensors"), of("google.golang.org/grpc"))},
	{"periph's host drivers only in hostbus", onlyIn(of("periph.io/x/host"), "sensors/hostbus")},
	{"generated code only at the ends of the wire", onlyIn(inside("fedavg/fedpb"),
		"fedavg/fedrpc", "agent/internal/uplink", "coordinator/internal/rpc")},
	// The agent's root decides by configuration; nothing else may bring it in.
	{"pprof only where the configuration rules it", onlyIn(of("net/http/pprof"), "agent")},
	{"no cgo of ours", func(p listed) []string { return p.CgoFiles }},
	{"libraries that were decided against", onlyIn(of(
		"github.com/spf13/viper", "github.com/sirupsen/logrus", "go.uber.org/zap",
		"github.com/stretchr/testify", "github.com/pkg/errors", "gorgonia.org",
		"github.com/alecthomas/kong"))}, // see package cli
	{"NATS only in the coordinator", onlyIn(of("github.com/nats-io"), "coordinator")},
	{"the embedded broker only in demo and tests", func(p listed) []string {
		if p.ImportPath == module+"/coordinator/cmd/millwright-demo" {
			return nil
		}
		p.TestImports, p.XTestImports = nil, nil
		return onlyIn(of("github.com/mochi-mqtt"))(p)
	}},
}

func TestDoors(t *testing.T) {
	packages := list(t)
	rooms := map[string]int{}
	for _, p := range packages {
		rooms[p.room()]++
	}
	for _, room := range []string{"sensors", "fedavg", "agent", "coordinator"} {
		if rooms[room] < 2 {
			t.Errorf("found %d packages in %s: the list is not the whole house", rooms[room], room)
		}
	}
	for _, d := range doors {
		for _, p := range packages {
			for _, wrong := range d.shut(p) {
				t.Errorf("%s: %s %s", d.name, p.ImportPath, wrong)
			}
		}
	}
}

// Each door must be able to find what it forbids.
func TestDoors_Close(t *testing.T) {
	pkg := func(path string, imports ...string) listed {
		for i, p := range imports {
			if !strings.Contains(p, ".") && !strings.HasPrefix(p, "net") && !strings.HasPrefix(p, "crypto") {
				imports[i] = module + "/" + p
			}
		}
		return listed{ImportPath: module + "/" + path, Imports: imports, Deps: imports}
	}
	cgo := pkg("agent")
	cgo.CgoFiles = []string{"c.go"}
	inTest := pkg("agent/lab")
	inTest.XTestImports = []string{module + "/coordinator"}
	for _, c := range []struct {
		p    listed
		want string // name of the door; empty if all let it pass
	}{
		{pkg("sensors/window", "fedavg/job"), "sensors does not know fedavg"},
		{pkg("fedavg/train", "sensors"), "fedavg does not know sensors"},
		{pkg("fedavg/sim", "agent/lab"), "the libraries do not know the processes"},
		{pkg("agent/lab", "coordinator/store"), "agent does not know coordinator"},
		{inTest, "agent does not know coordinator"},
		{pkg("coordinator/store", "agent"), "coordinator does not know agent"},
		{pkg("coordinator/cmd/millwright-demo", "agent"), ""},
		{pkg("coordinator/e2e", "agent"), ""},
		{pkg("fedavg", "net/http"), "fedavg has no network and no wire format"},
		{pkg("fedavg/fedrpc", "net"), ""},
		{pkg("fedavg/model", "google.golang.org/protobuf/proto"), "fedavg has no network and no wire format"},
		{pkg("agent", "periph.io/x/host/v3"), "periph's host drivers only in hostbus"},
		{pkg("sensors/hostbus", "periph.io/x/host/v3"), ""},
		{pkg("coordinator", "fedavg/fedpb"), "generated code only at the ends of the wire"},
		{pkg("coordinator/internal/rpc/rpctest", "fedavg/fedpb"), ""},
		{pkg("coordinator/internal/web", "net/http/pprof"), "pprof only where the configuration rules it"},
		{cgo, "no cgo of ours"},
		{pkg("agent/internal/api", "github.com/sirupsen/logrus"), "libraries that were decided against"},
		{pkg("agent/cmd/millwright-agent", "github.com/alecthomas/kong"), "libraries that were decided against"},
		{pkg("agent", "github.com/nats-io/nats.go"), "NATS only in the coordinator"},
		{pkg("agent", "github.com/mochi-mqtt/server/v2"), "the embedded broker only in demo and tests"},
	} {
		var closed []string
		for _, d := range doors {
			if len(d.shut(c.p)) > 0 {
				closed = append(closed, d.name)
			}
		}
		if got := strings.Join(closed, ", "); got != c.want {
			t.Errorf("%s importing %v is stopped by %q, want %q", c.p.ImportPath, c.p.Imports, got, c.want)
		}
	}
}

// The agent's binary must serve pprof only from its own handler: nothing in it may
// serve http.DefaultServeMux, where importing net/http/pprof leaves its own.
func TestDoors_NoDefaultServeMux(t *testing.T) {
	for _, p := range list(t) {
		if p.room() != "agent" {
			continue
		}
		for _, name := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range []string{"http.DefaultServeMux", "http.ListenAndServe(", "http.Handle(", "http.HandleFunc("} {
				if bytes.Contains(src, []byte(use)) {
					t.Errorf("%s/%s uses %s", p.ImportPath, name, use)
				}
			}
		}
	}
}

// list returns every package of the module.
func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e=false", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,Deps,CgoFiles,GoFiles,TestGoFiles,XTestGoFiles", module+"/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // else files with cgo are passed over
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(fmt.Errorf("read the output of go list: %w", err))
		}
		packages = append(packages, p)
		// A cached result of this test is valid as long as the files it looked
		// at are unchanged; the test cache does not see what go list reads.
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			if _, err := os.Stat(filepath.Join(p.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return packages
}
