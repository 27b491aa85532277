//go:build system

package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/browsertest"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

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
	b := browsertest.Start(t)
	server := serve(t, newFakeViewer(func() fleet.Snapshot { return plant(time.Now()) }))
	none := serve(t, newFakeViewer(func() fleet.Snapshot { return fleet.Snapshot{At: time.Now(), Version: "0.1.0", Started: time.Now()} }))
	for _, screen := range []struct {
		name          string
		width, height int
		scheme        string
	}{{"desktop-light", 1360, 900, "light"}, {"desktop-dark", 1360, 900, "dark"}, {"phone-light", 375, 800, "light"}, {"phone-dark", 375, 800, "dark"}} {
		b.Look(screen.width, screen.height, screen.scheme)
		visit := func(name, url string) {
			b.Open(url)
			browsertest.Wait(t, name+" to be live", func() bool { return b.Eval(`document.getElementById("link").dataset.state`) == "live" })
			if wide := b.Eval(`document.documentElement.scrollWidth > innerWidth`); wide != "false" {
				t.Errorf("%s is wider than its screen of %d px", name, screen.width)
			}
			if strings.HasPrefix(name, "rounds-phone") || strings.HasPrefix(name, "rounds-desktop") {
				b.Eval(`document.querySelectorAll("details").forEach((d, i) => { if (i < 2) d.open = true; })`)
			}
			b.Shoot("../../..", "web-"+name)
		}
		for name, path := range systemViews {
			visit(name+"-"+screen.name, server.URL+path)
		}
		visit("empty-"+screen.name, none.URL+"/")
	}
	b.CheckConsole()
}

// A change reaches the open page in place: no reload, what a person unfolded
// stays so, and a lost connection shows and mends itself.
func TestSystem_LiveUpdateInBrowser(t *testing.T) {
	b := browsertest.Start(t)
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
	b.Look(1360, 900, "light")
	b.Open(server.URL + "/rounds")
	state := func() string { return b.Eval(`document.getElementById("link").dataset.state`) }
	browsertest.Wait(t, "the stream", func() bool { return state() == "live" })
	b.Eval(`window.sameDocument = true; document.querySelector("tbody.now details").open = true; document.querySelector("tbody.now summary").focus()`)
	if got := b.Eval(`document.querySelector("tbody.now summary").textContent.trim()`); got != "1 of 2 received" {
		t.Fatalf("before the change the open round says %q", got)
	}

	viewer.set(func() fleet.Snapshot {
		s := plant(time.Now())
		s.Rounds[0].Participants[1].State = "received"
		return s
	})
	browsertest.Wait(t, "the second update to show", func() bool {
		return b.Eval(`document.querySelector("tbody.now summary").textContent.trim()`) == "2 of 2 received"
	})
	if got := b.Eval(`window.sameDocument && document.querySelector("tbody.now details").open && document.activeElement === document.querySelector("tbody.now summary")`); got != "true" {
		t.Error("the page was reloaded, or forgot what was unfolded or focused")
	}

	viewer.set(func() fleet.Snapshot { // the round commits, the next one opens on top
		s := plant(time.Now())
		s.Rounds[0].State, s.Rounds[0].Metrics = "committed", map[string]float64{"loss": 0.03}
		next := fleet.Round{Job: "pump-health", Round: 14, Attempt: 1, State: "open", Started: time.Now()}
		s.Rounds = append([]fleet.Round{next}, s.Rounds...)
		return s
	})
	browsertest.Wait(t, "round 14", func() bool { return b.Eval(`document.querySelector("tbody.now th").textContent`) == "Round 14" })
	if got := b.Eval(`window.sameDocument && document.querySelectorAll("tbody details")[0].open && document.querySelectorAll("tbody.now").length`); got != "1" {
		t.Errorf("after round 14 opened, round 13 should still be unfolded and one round open: %s", got)
	}
	b.CheckConsole()

	down <- struct{}{}
	server.CloseClientConnections()
	browsertest.Wait(t, "the loss to show", func() bool {
		return state() == "lost" && strings.Contains(b.Eval(`document.getElementById("link-text").textContent`), "Connection lost, retrying")
	})
	b.Shoot("../../..", "web-connection-lost")
	<-down
	browsertest.Wait(t, "the page to be live again", func() bool { return state() == "live" })
	if b.Eval(`window.sameDocument`) != "true" {
		t.Error("the page was reloaded to reconnect")
	}
}
