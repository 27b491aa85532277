//go:build system

package e2e

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/internal/browsertest"
)

// The whole federation as a person meets it: make demo in one window, the page
// in the other. Rounds advance on the open page without a reload, and every
// view shows what it is for.
func TestSystem_DemoInBrowser(t *testing.T) {
	b := browsertest.Start(t)
	b.Look(1280, 860, "light")
	dir := t.TempDir()
	out := filepath.Join(dir, "demo.json")
	demo := exec.CommandContext(t.Context(), built(t, "bin", "millwright-demo"), "run", "--rounds", "5",
		"--bin", built(t, "bin"), "--dir", filepath.Join(dir, "demo"), "--out", out)
	reader, writer := io.Pipe()
	demo.Stdout, demo.Stderr = writer, writer
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- demo.Wait(); writer.Close() }()

	lines := bufio.NewScanner(reader)
	url := ""
	for url == "" && lines.Scan() {
		t.Log(lines.Text())
		url = regexp.MustCompile(`http://[0-9.:]+`).FindString(lines.Text())
	}
	if url == "" {
		t.Fatalf("the demonstration printed no address: %v", <-ended)
	}
	rest := make(chan string, 1)
	go func() {
		var text strings.Builder
		for lines.Scan() {
			text.WriteString(lines.Text() + "\n")
		}
		rest <- text.String()
	}()

	root := repository(t)
	b.Open(url + "/rounds")
	b.Eval(`window.sameDocument = true`)
	browsertest.Wait(t, "the first rounds", func() bool { return strings.Contains(b.Eval(`document.body.textContent`), "committed") })
	committed := `String(document.body.textContent.split("committed").length)`
	before := b.Eval(committed)
	browsertest.Wait(t, "a further round on the open page", func() bool { return b.Eval(committed) != before })
	if b.Eval(`window.sameDocument`) != "true" {
		t.Error("the page was reloaded to show a round")
	}
	b.Open(url + "/")
	browsertest.Wait(t, "the first alarm on the open page", func() bool {
		return strings.Contains(b.Eval(`document.querySelector("main").textContent`), "worst: pump-1")
	})
	for name, view := range map[string]struct{ path, says string }{
		"fleet": {"/", "pump-6"}, "gateway": {"/gateways/hall-1", "pump-2"}, "machine": {"/gateways/hall-1/machines/pump-1", "vibration"},
		"rounds": {"/rounds", "pump-autoencoder"}, "models": {"/models", "pump-gaussian"}, "jobs": {"/jobs", "process-pump"}, "alarms": {"/alarms", "pump-1"},
	} {
		b.Open(url + view.path)
		if text := b.Eval(`document.querySelector("main").textContent`); !strings.Contains(text, view.says) {
			t.Errorf("the view %s does not say %q:\n%s", view.path, view.says, text)
		}
		b.Shoot(root, "demo-"+name)
	}
	b.CheckConsole()
	if err := <-ended; err != nil {
		t.Errorf("millwright-demo: %v", err)
	}
	t.Logf("\n%s", <-rest)
	if n := len(readSummary(t, out).Machines); n != 6 {
		t.Errorf("summary lists %d machines, want 6", n)
	}
}
