package enrol

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveAdmin runs ServeAdmin in a fresh directory until the test ends.
func serveAdmin(t *testing.T, f *fixture) (dataDir string, stop func() error) {
	t.Helper()
	dataDir, err := os.MkdirTemp("", "mw") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dataDir) })
	return dataDir, startAdmin(t, f, filepath.Join(dataDir, AdminSocket))
}

func startAdmin(t *testing.T, f *fixture, path string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.ServeAdmin(ctx, path, nil) }()
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	admin := NewAdmin(filepath.Dir(path))
	for {
		if _, err := admin.Gateways(context.Background()); err == nil {
			return stop
		}
		select {
		case err := <-done:
			t.Fatalf("ServeAdmin: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAdmin(t *testing.T) {
	f := newFixture(t)
	dir, stop := serveAdmin(t, f)
	info, err := os.Stat(filepath.Join(dir, AdminSocket))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("socket has mode %v, %v", info.Mode(), err)
	}
	ctx := context.Background()
	admin := NewAdmin(dir)
	text, err := admin.CreateToken(ctx, TokenOptions{TTL: time.Hour, Uses: 2, Gateway: "gw", Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, ".")
	held, _, err := f.readToken(ctx, parts[1], parts[2])
	if err != nil || held.Uses != 2 || held.Gateway != "gw" || !held.Replace || !held.Expires.Equal(f.clock.Now().Add(time.Hour)) {
		t.Fatalf("token %q is %+v, %v", text, held, err)
	}
	if _, err := f.Enrol(ctx, parts[1], parts[2], request(t, "gw", newKey(t))); err != nil {
		t.Fatal(err)
	}
	list, err := admin.Gateways(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "gw" || !list[0].Enrolled.Equal(f.clock.Now()) {
		t.Fatalf("Gateways = %+v, %v", list, err)
	}
	if err := admin.Remove(ctx, "gw"); err != nil {
		t.Fatal(err)
	}
	if err := admin.Remove(ctx, "gw"); err == nil || !strings.Contains(err.Error(), ErrNotEnrolled.Error()) {
		t.Errorf("second Remove: %v", err)
	}
	if err := admin.Remove(ctx, "../x"); !errors.Is(err, ErrRequest) {
		t.Errorf("Remove of nonsense: %v, want ErrRequest", err)
	}
	if _, err := admin.CreateToken(ctx, TokenOptions{Uses: -1}); err == nil || !strings.Contains(err.Error(), "uses") {
		t.Errorf("CreateToken with -1 uses: %v", err)
	}

	if err := stop(); err != nil {
		t.Fatalf("ServeAdmin: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("after the stop there is %v, %v", left, err)
	}
	if _, err := admin.CreateToken(ctx, TokenOptions{}); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "millwright-coordinator run") {
		t.Errorf("CreateToken with nobody there: %v, want the directory and the mend", err)
	}
}

func TestServeAdmin_StaleSocket(t *testing.T) {
	f := newFixture(t)
	dir, stop := serveAdmin(t, f)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, AdminSocket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as after kill -9
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewAdmin(dir).Gateways(context.Background()); err == nil || !strings.Contains(err.Error(), "no coordinator is running") {
		t.Fatalf("a stale socket: %v", err)
	}
	startAdmin(t, f, path) // fails the test unless it answers

	// A second one does not take it away from the first.
	err = f.ServeAdmin(context.Background(), path, nil)
	if err == nil || !strings.Contains(err.Error(), "another coordinator") || !strings.Contains(err.Error(), path) {
		t.Fatalf("second ServeAdmin: %v, want an error naming the socket", err)
	}
	if _, err := NewAdmin(dir).Gateways(context.Background()); err != nil {
		t.Fatalf("the first one suffered: %v", err)
	}
}

func TestServeAdmin_BadPath(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep me"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("d", 108), AdminSocket)
	for path, want := range map[string]string{
		file: "no socket", long: "shorter data_dir", filepath.Join(dir, "absent", AdminSocket): "no such file",
	} {
		err := f.ServeAdmin(context.Background(), path, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("ServeAdmin(%q): %v, want %q", path, err, want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "keep me" {
		t.Errorf("the file in the way became %q, %v", data, err)
	}
}

func TestAdminHandler_BadRequests(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"not JSON":      {"POST", "/token", "ttl=1", http.StatusBadRequest},
		"unknown field": {"POST", "/token", `{"tll_ns":1}`, http.StatusBadRequest},
		"large":         {"POST", "/token", `{"gateway":"` + strings.Repeat("x", 1<<20) + `"}`, http.StatusBadRequest},
		"bad name":      {"POST", "/token", `{"gateway":"a b"}`, http.StatusBadRequest},
		"not enrolled":  {"DELETE", "/gateway/x", "", http.StatusNotFound},
		"other method":  {"GET", "/token", "", http.StatusMethodNotAllowed},
		"other path":    {"GET", "/", "", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		f.AdminHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.want)
		}
	}
}
