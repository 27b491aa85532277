//go:build system

package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// browser is a headless Chromium, driven over its DevTools protocol.
type browser struct {
	t       *testing.T
	conn    *websocket.Conn
	session string
	next    int
	console []string // errors and refusals (content security policy) of the page
}

type devMessage struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("no chromium on this machine: install it to see the page in a real browser")
	}
	profile := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, "--remote-debugging-port=0", "about:blank")
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start %s: %v", program, err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait() }) // killed: its error says only that
	var lines []string
	wait(t, "chromium to open its debugging port", func() bool {
		data, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		lines = strings.Split(strings.TrimSpace(string(data)), "\n")
		return err == nil && len(lines) == 2
	})
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://127.0.0.1:"+lines[0]+lines[1], nil)
	if err != nil {
		t.Fatalf("connect to chromium: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	b := &browser{t: t, conn: conn}
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", map[string]any{}, nil)
	}
	return b
}

// wait polls a condition outside this process.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.next++
	request := map[string]any{"id": b.next, "method": method, "params": params}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	b.conn.SetReadDeadline(time.Now().Add(time.Minute))
	if err := b.conn.WriteJSON(request); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		var m devMessage
		if err := b.conn.ReadJSON(&m); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		switch {
		case m.Method == "Log.entryAdded" || m.Method == "Runtime.exceptionThrown":
			b.console = append(b.console, string(m.Params))
		case m.ID == b.next && m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case m.ID == b.next:
			if result != nil {
				if err := json.Unmarshal(m.Result, result); err != nil {
					b.t.Fatalf("%s: %v", method, err)
				}
			}
			return
		}
	}
}

// eval runs an expression in the page and returns its value as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if out.ExceptionDetails != nil {
		b.t.Fatalf("evaluate %s: %s", expression, out.ExceptionDetails.Text)
	}
	return fmt.Sprint(out.Result.Value)
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	wait(b.t, url+" to load", func() bool {
		return b.eval(`location.href + " " + document.readyState`) == url+" complete"
	})
}

func (b *browser) look(width, height int, scheme string) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shoot writes a picture of the whole page to build/ at the repository's root.
func (b *browser) shoot(name string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	dir := filepath.Join("..", "..", "..", "build")
	if err = errors.Join(err, os.MkdirAll(dir, 0o755)); err == nil {
		err = os.WriteFile(filepath.Join(dir, "web-"+name+".png"), data, 0o644)
	}
	if err != nil {
		b.t.Fatalf("write screenshot %s: %v", name, err)
	}
}

func (b *browser) checkConsole() {
	b.t.Helper()
	for _, entry := range b.console {
		b.t.Errorf("the browser complains: %s", entry)
	}
	b.console = nil
}

// serve starts the page on a free port; its streams end with the test.
func serve(t *testing.T, viewer fleet.Viewer) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(New(viewer, Options{Location: noon.Location()}, quiet()))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server
}

var systemViews = map[string]string{
	"fleet": "/", "gateway": "/gateways/augsburg-hall-2", "gateway-away": "/gateways/cork-utilities",
	"machine": "/gateways/augsburg-hall-2/machines/feed-pump-2", "rounds": "/rounds", "round": "/rounds/pump-health/13",
	"models": "/models", "jobs": "/jobs", "alarms": "/alarms",
}

// Every view, on a desk and on a phone, by day and by night: nothing is refused
// by the content security policy, nothing is wider than the screen.
func TestSystem_ViewsInBrowser(t *testing.T) {
	b := startBrowser(t)
	server := serve(t, newFakeViewer(func() fleet.Snapshot { return plant(time.Now()) }))
	none := serve(t, newFakeViewer(func() fleet.Snapshot { return fleet.Snapshot{At: time.Now(), Version: "0.1.0", Started: time.Now()} }))
	for _, screen := range []struct {
		name          string
		width, height int
		scheme        string
	}{{"desktop-light", 1360, 900, "light"}, {"desktop-dark", 1360, 900, "dark"}, {"phone-light", 375, 800, "light"}, {"phone-dark", 375, 800, "dark"}} {
		b.look(screen.width, screen.height, screen.scheme)
		visit := func(name, url string) {
			b.open(url)
			wait(t, name+" to be live", func() bool { return b.eval(`document.getElementById("link").dataset.state`) == "live" })
			if wide := b.eval(`document.documentElement.scrollWidth > innerWidth`); wide != "false" {
				t.Errorf("%s is wider than its screen of %d px", name, screen.width)
			}
			if strings.HasPrefix(name, "rounds-phone") || strings.HasPrefix(name, "rounds-desktop") {
				b.eval(`document.querySelectorAll("details").forEach((d, i) => { if (i < 2) d.open = true; })`)
			}
			b.shoot(name)
		}
		for name, path := range systemViews {
			visit(name+"-"+screen.name, server.URL+path)
		}
		visit("empty-"+screen.name, none.URL+"/")
	}
	b.checkConsole()
}

// A change reaches the open page in place: no reload, what a person unfolded
// stays so, and a lost connection shows and mends itself.
func TestSystem_LiveUpdateInBrowser(t *testing.T) {
	b := startBrowser(t)
	viewer := newFakeViewer(func() fleet.Snapshot { return plant(time.Now()) })
	page := New(viewer, Options{}, quiet())
	down := make(chan struct{}, 1) // holds a token while the coordinator is "down"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(down) > 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		page.ServeHTTP(w, r)
	}))
	defer func() { server.CloseClientConnections(); server.Close() }()
	b.look(1360, 900, "light")
	b.open(server.URL + "/rounds")
	state := func() string { return b.eval(`document.getElementById("link").dataset.state`) }
	wait(t, "the stream", func() bool { return state() == "live" })
	b.eval(`window.sameDocument = true; document.querySelector("tbody.now details").open = true; document.querySelector("tbody.now summary").focus()`)
	if got := b.eval(`document.querySelector("tbody.now summary").textContent.trim()`); got != "1 of 2 received" {
		t.Fatalf("before the change the open round says %q", got)
	}

	viewer.set(func() fleet.Snapshot {
		s := plant(time.Now())
		s.Rounds[0].Participants[1].State = "received"
		return s
	})
	wait(t, "the second update to show", func() bool {
		return b.eval(`document.querySelector("tbody.now summary").textContent.trim()`) == "2 of 2 received"
	})
	if got := b.eval(`window.sameDocument && document.querySelector("tbody.now details").open && document.activeElement === document.querySelector("tbody.now summary")`); got != "true" {
		t.Error("the page was reloaded, or forgot what was unfolded or focused")
	}

	viewer.set(func() fleet.Snapshot { // the round commits, the next one opens on top
		s := plant(time.Now())
		s.Rounds[0].State, s.Rounds[0].Metrics = "committed", map[string]float64{"loss": 0.03}
		next := fleet.Round{Job: "pump-health", Round: 14, Attempt: 1, State: "open", Started: time.Now()}
		s.Rounds = append([]fleet.Round{next}, s.Rounds...)
		return s
	})
	wait(t, "round 14", func() bool { return b.eval(`document.querySelector("tbody.now th").textContent`) == "Round 14" })
	if got := b.eval(`window.sameDocument && document.querySelectorAll("tbody details")[0].open && document.querySelectorAll("tbody.now").length`); got != "1" {
		t.Errorf("after round 14 opened, round 13 should still be unfolded and one round open: %s", got)
	}
	b.checkConsole()

	down <- struct{}{}
	server.CloseClientConnections()
	wait(t, "the loss to show", func() bool {
		return state() == "lost" && strings.Contains(b.eval(`document.getElementById("link-text").textContent`), "Connection lost, retrying")
	})
	b.shoot("connection-lost")
	<-down
	wait(t, "the page to be live again", func() bool { return state() == "live" })
	if b.eval(`window.sameDocument`) != "true" {
		t.Error("the page was reloaded to reconnect")
	}
}
