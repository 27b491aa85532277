package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// largestBinary is the limit of the agent's binary in bytes.
const largestBinary = 20_000_000

// Where anything that is linked calls a method by a name known only at run time, as kong and
// text/template do, the linker keeps every exported method of every type: a quarter more
// binary, and as much more memory. The linker itself is asked, about the binary that is
// shipped: importing such a package does no harm as long as the calls are not reached.
func TestBinary_CallsNoMethodsByName(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the agent")
	}
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	tags := regexp.MustCompile(`(?m)^GOBUILD := .* -tags (\S+)`).FindSubmatch(makefile)
	if tags == nil {
		t.Fatal("the Makefile names no tags to build with")
	}
	binary := filepath.Join(t.TempDir(), "millwright-agent")
	// Go keeps what the linker prints with the compiled command, and prints it again with every
	// later build. The compiler's flag, which changes nothing else, makes it another command.
	cmd := exec.Command("go", "build", "-trimpath", "-gcflags=-e", "-tags", string(tags[1]), "-ldflags", "-s -w -dumpdep", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	edges, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("build the agent: %v\n%s", err, edges[max(0, len(edges)-2000):])
	}
	if !bytes.Contains(edges, []byte("main.main -> ")) {
		t.Fatal("the linker does not tell what is reached from where")
	}
	for _, edge := range regexp.MustCompile(`(?m)^.* -> .*<ReflectMethod>$`).FindAll(edges, 10) {
		t.Errorf("reached: %s", edge)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the binary has %.1f MB", float64(info.Size())/1e6)
	if info.Size() > largestBinary {
		t.Errorf("the binary has %d bytes, want at most %d", info.Size(), largestBinary)
	}
}
