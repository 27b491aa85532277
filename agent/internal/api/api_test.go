package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fakeView struct{ healthy bool }

func (fakeView) Status() any   { return map[string]string{"is": "status"} }
func (fakeView) Machines() any { return map[string]string{"is": "machines"} }
func (fakeView) Machine(name string) (any, bool) {
	return map[string]string{"is": name}, name == "pump-1"
}
func (fakeView) Alarms() any           { return map[string]string{"is": "alarms"} }
func (fakeView) Jobs() any             { return map[string]string{"is": "jobs"} }
func (fakeView) Models() any           { return map[string]float64{"is": math.NaN()} }
func (fakeView) Config() any           { return map[string]string{"is": "config"} }
func (fakeView) Sensors() any          { return map[string]string{"is": "sensors"} }
func (v fakeView) Health() (any, bool) { return map[string]string{"is": "health"}, v.healthy }

func TestHandler(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metric 1") })
	for _, c := range []struct {
		method, path string
		healthy      bool
		status       int
		body         string
	}{
		{"GET", "/api/v1/status", true, 200, `"is": "status"`},
		{"GET", "/api/v1/machines", true, 200, `"is": "machines"`},
		{"GET", "/api/v1/machines/pump-1", true, 200, `"is": "pump-1"`},
		{"GET", "/api/v1/machines/pump-9", true, 404, `"error": "no machine of this name`},
		{"GET", "/api/v1/alarms", true, 200, `"is": "alarms"`},
		{"GET", "/api/v1/jobs", true, 200, `"is": "jobs"`},
		{"GET", "/api/v1/models", true, 500, `"error": "document cannot be encoded`},
		{"GET", "/api/v1/config", true, 200, `"is": "config"`},
		{"GET", "/api/v1/sensors", true, 200, `"is": "sensors"`},
		{"GET", "/healthz", true, 200, `"is": "health"`},
		{"GET", "/healthz", false, 503, `"is": "health"`},
		{"GET", "/metrics", true, 200, "metric 1"},
		{"GET", "/", true, 404, `"error": "nothing here`},
		{"GET", "/debug/pprof/heap", true, 404, `"error": "nothing here`},
		{"POST", "/api/v1/status", true, 404, `"error"`},
	} {
		s := New(Options{Metrics: metrics}, fakeView{c.healthy}, slog.New(slog.DiscardHandler))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, w.Code, w.Body, c.status, c.body)
		}
		if c.path != "/metrics" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s is not JSON: %s", c.method, c.path, w.Body)
		}
	}
}

func TestServer_RunEndsWithItsContext(t *testing.T) {
	s := New(Options{Listen: "127.0.0.1:0"}, fakeView{true}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	address := <-s.Bound()
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("server outlives its context")
	}
	if _, err := http.Get("http://" + address + "/healthz"); err == nil {
		t.Error("the port is still open")
	}
}
