package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

func wantError(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	var body apiError
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Errorf("error body %q: %v", rec.Body, err)
	}
	if body.Error.Status != rec.Code || body.Error.Message == "" || body.Error.Mend == "" || rec.Header().Get("Content-Type") != "application/json" {
		t.Errorf("error body must hold status %d, what is wrong and the mend: %s", rec.Code, rec.Body)
	}
}

func decode(t *testing.T, rec *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("status %d, body %.200s: %v", rec.Code, rec.Body, err)
	}
	return out
}

func keys(v any) string {
	m, _ := v.(map[string]any)
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}

// The names others rely on. A field may be added; none may go or change its name.
func TestAPI_Schema(t *testing.T) {
	fields := map[string]string{
		"gateways": "name version connected enrolled last_seen cert_expires machines received_samples_total dropped_samples_total",
		"jobs":     "name class model role digest version rounds_planned done ready",
		"rounds":   "job round attempt state started participants bytes_in bytes_out seconds",
		"models":   "job version digest size_bytes parameters committed participants weight release gateways",
		"alarms":   "id gateway machine class raised zone peak_score reasons model_version",
	}
	for name, want := range fields {
		out := decode(t, get(t, plantNow, "/api/v1/"+name))
		if keys(out) != strings.Join(slices.Sorted(slices.Values([]string{"at", name})), " ") {
			t.Errorf("/api/v1/%s has the fields %s", name, keys(out))
		}
		list, _ := out[name].([]any)
		if len(list) == 0 {
			t.Errorf("/api/v1/%s is empty", name)
			continue
		}
		got := " " + keys(list[0]) + " "
		for _, field := range strings.Fields(want) {
			if !strings.Contains(got, " "+field+" ") {
				t.Errorf("/api/v1/%s: field %s is gone; there are%s", name, field, got)
			}
		}
	}
	machine := decode(t, get(t, plantNow, "/api/v1/gateways"))["gateways"].([]any)[0].(map[string]any)["machines"].([]any)[1]
	if got := keys(machine); got != "alarm at class drift evidence fault job life model_version name quality reasons score state trend zone" {
		t.Errorf("a machine has the fields %s", got)
	}
	if got := keys(decode(t, get(t, plantNow, "/api/v1/snapshot"))); got != "alarms at drift gateways jobs models rounds started version" {
		t.Errorf("a snapshot has the fields %s", got)
	}
}

// Counted by hand in the fixture.
func TestAPI_Fleet(t *testing.T) {
	got := decode(t, get(t, plantNow, "/api/v1/fleet"))
	want := map[string]any{
		"at": "2026-03-12T12:00:00+01:00", "version": "0.1.0", "started": "2026-03-10T10:00:00+01:00",
		"gateways": map[string]any{"enrolled": 3.0, "connected": 2.0},
		"machines": map[string]any{"total": 6.0, "unscored": 1.0, "by_zone": map[string]any{"A": 2.0, "B": 1.0, "C": 1.0, "D": 1.0},
			"by_state": map[string]any{"running": 5.0, "baseline": 1.0}},
		"alarms_active": 2.0,
		"rounds_open": []any{map[string]any{"job": "pump-health", "round": 13.0, "attempt": 2.0, "received": 1.0, "participants": 2.0,
			"started": "2026-03-12T11:59:40+01:00", "deadline": "2026-03-12T12:09:40+01:00"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fleet (-want +got):\n%s", diff)
	}
}

// Lists are lists, also when there is nothing in them.
func TestAPI_EmptyIsNotNull(t *testing.T) {
	s := fleet.Snapshot{At: noon, Gateways: []fleet.Gateway{{Name: "g", Machines: []fleet.Machine{{Name: "m"}}}, {Name: "h"}}, Rounds: []fleet.Round{{Job: "j"}}, Alarms: []fleet.Alarm{{ID: "a"}}}
	for _, snapshot := range []fleet.Snapshot{s, {At: noon}} {
		for _, name := range []string{"snapshot", "fleet", "gateways", "jobs", "rounds", "models", "alarms", "drift"} {
			body := get(t, at(snapshot), "/api/v1/"+name).Body.String()
			if body = strings.ReplaceAll(body, `"dropped_samples_total":null`, ""); strings.Contains(body, "null") {
				t.Errorf("/api/v1/%s holds null: %s", name, body)
			}
		}
	}
}

func TestAPI_Errors(t *testing.T) {
	for _, path := range []string{"/api/", "/api/v1/nope", "/api/v2/fleet", "/api/v1/fleet/x", "/api/v1/models/pump-health/x.safetensors", "/api/v1/models/pump-health/-1.safetensors",
		"/api/v1/models/pump-health/99.safetensors", "/api/v1/models/nobody/1.safetensors", "/api/v1/models/pump-health/1.bin"} {
		rec := get(t, plantNow, path)
		if rec.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, rec.Code)
		}
		wantError(t, rec)
	}
}

func TestAPI_Download(t *testing.T) {
	blob := bytes.Repeat([]byte("safetensors "), 1000)
	viewer := newFakeViewer(plantNow)
	viewer.blobs = map[string][]byte{"pump-health/12": blob}
	h := New(viewer, testOptions(), quiet())
	ask := func(method, header, value string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/api/v1/models/pump-health/12.safetensors", nil)
		r.Header.Set(header, value)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	rec := ask(http.MethodGet, "X-None", "")
	if rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), blob) {
		t.Fatalf("status %d, %d bytes", rec.Code, rec.Body.Len())
	}
	if got := rec.Header().Get("Content-Disposition"); got != "attachment; filename=pump-health-v12.safetensors" {
		t.Errorf("Content-Disposition %q", got)
	}
	tag := rec.Header().Get("ETag")
	// python3 -c "import hashlib; print(hashlib.sha256(b'safetensors '*1000).hexdigest())"
	if tag != `"dac8499230c07cffec400e103bb70ca1d85f9960ac6d4039e89a549ac59b6aec"` {
		t.Errorf("ETag %s", tag)
	}
	if rec := ask(http.MethodGet, "If-None-Match", tag); rec.Code != http.StatusNotModified {
		t.Errorf("with its ETag: status %d", rec.Code)
	}
	if rec := ask(http.MethodGet, "Range", "bytes=12-22"); rec.Code != http.StatusPartialContent || rec.Body.String() != "safetensors" {
		t.Errorf("range: status %d, body %q", rec.Code, rec.Body)
	}
	viewer.blobErr = errors.New("disk: \x1b[31m/secret/path")
	if rec := ask(http.MethodGet, "X-None", ""); rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("a failing store: status %d, body %s", rec.Code, rec.Body)
	} else {
		wantError(t, rec)
	}
}

func BenchmarkAPI_500Gateways(b *testing.B) {
	s := large(noon, 500)
	h := New(newFakeViewer(at(s)), testOptions(), quiet())
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/v1/gateways", nil))
	}
}

func ExampleNew() {
	viewer := newFakeViewer(plantNow)
	rec := httptest.NewRecorder()
	New(viewer, Options{Location: noon.Location()}, quiet()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/fleet", nil))
	var fleet struct {
		AlarmsActive int `json:"alarms_active"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &fleet); err != nil {
		fmt.Println(err)
	}
	fmt.Println(fleet.AlarmsActive, "alarms are active")
	// Output: 2 alarms are active
}
