package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fakeBook answers with what it was asked.
type fakeBook struct{}

func (fakeBook) Labels(machine string) (int, any) {
	return http.StatusOK, map[string]string{"of": machine}
}
func (fakeBook) Label(body []byte) (int, any) {
	return http.StatusCreated, map[string]string{"kept": string(body)}
}
func (fakeBook) Withdraw(id string) (int, any) {
	return http.StatusOK, map[string]string{"withdrawn": id}
}

func TestHandler_Labels(t *testing.T) {
	const home, away = "127.0.0.1:5000", "192.0.2.7:5000"
	for _, c := range []struct {
		method, path, from, kind, origin, body string
		status                                 int
		answer                                 string
	}{
		{"GET", "/api/v1/labels?machine=press-1", home, "", "", "", 200, `"of": "press-1"`},
		{"GET", "/api/v1/labels", away, "", "", "", 200, `"of": ""`},
		{"POST", "/api/v1/labels", home, "application/json", "", "x", 201, `"kept": "x"`},
		{"POST", "/api/v1/labels", "[::1]:5000", "application/json; charset=utf-8", "", "x", 201, `"kept": "x"`},
		{"POST", "/api/v1/labels", home, "application/x-www-form-urlencoded", "", "x", 415, "Content-Type: application/json"},
		{"POST", "/api/v1/labels", home, "", "", "x", 415, "Content-Type"},
		{"POST", "/api/v1/labels", home, "application/json", "", strings.Repeat("x", 1<<15), 413, "16384 bytes"},
		{"POST", "/api/v1/labels", away, "application/json", "", "x", 403, "through MQTT"},
		{"POST", "/api/v1/labels", "unknown", "application/json", "", "x", 403, "through MQTT"},
		{"POST", "/api/v1/labels", home, "application/json", "http://elsewhere.example", "x", 403, "pages of other sites"},
		{"DELETE", "/api/v1/labels/WO%2017", home, "", "", "", 200, `"withdrawn": "WO 17"`},
		{"DELETE", "/api/v1/labels/a", away, "", "", "", 403, "through MQTT"},
		{"DELETE", "/api/v1/labels/a", home, "", "http://elsewhere.example", "", 403, "pages of other sites"},
		{"PUT", "/api/v1/labels", home, "", "", "", 404, `"error"`},
	} {
		s := New(Options{Labels: fakeBook{}}, fakeView{}, slog.New(slog.DiscardHandler))
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.RemoteAddr = c.from
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) {
			t.Errorf("%s %s from %s with %q: %d %s, want %d with %q", c.method, c.path, c.from, c.kind, w.Code, w.Body, c.status, c.answer)
		}
	}
}
