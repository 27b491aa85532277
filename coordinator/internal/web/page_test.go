package web

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	tagPattern   = regexp.MustCompile(`<[^>]*>`)
	spacePattern = regexp.MustCompile(`\s+`)
)

// text is what a person reads of a page: no tags, single spaces.
func text(markup string) string {
	plain := strings.ReplaceAll(html.UnescapeString(tagPattern.ReplaceAllString(markup, " ")), "\u202f", " ")
	return strings.TrimSpace(spacePattern.ReplaceAllString(plain, " "))
}

func TestPage_SaysWhatMatters(t *testing.T) {
	views := []struct {
		path string
		says []string
	}{
		{"/", []string{
			"(2) Fleet · Millwright", "2 active alarms", "Gateways connected 2 of 3", "not connected: cork-utilities",
			"Machines by zone 6 A 2 B 1 C 1 D 1 · 1 not scored", "worst: feed-pump-2 on augsburg-hall-2, zone D, 3.61 at its peak",
			"1 of 2 received", "pump-health, round 13 , deadline in 9 min", "3 gateways, 6 machines",
			"augsburg-hall-2 connected heard 2 s ago agent 0.1.0", "cork-utilities not connected last heard 3 h ago ; what follows is the last known",
			"feed-pump-2 process-pump zone D 3.42 running alarm drift 340 h left inner race 92 % vibration.envelope_peak 62 % vibration.kurtosis 21 % temperature.slope 9 % pump-health v12 4 s ago",
			"mixer-3 mixer · not scored – baseline – – 9 s ago", "feed-pump-1 process-pump zone A 0.31 running vibration.rms 34 %",
			"drift All of class process-pump changes: temperature.mean on 3 of 3 machines since 2 d ago . That is the process or the season rather than a fault.", "Times are CET (UTC+01:00), the server’s time zone",
		}},
		{"/", []string{"brno-line-a connected heard 1 s ago agent 0.1.0 quarantined pump-health since round 11: norm is 1532, 153 times the fleet's usual 10.02 (limit 10 times) cooling-pump"}},
		{"/gateways/brno-line-a", []string{"quarantined Its updates to pump-health have not counted since round 11 , 2 h ago : norm is 1532", "Clean for 2 of 5 rounds, after which it counts again.",
			"millwright-coordinator quarantine release brno-line-a", "pump-health 12 committed quarantined in quarantine since round 11; clean for 1 of 5 rounds 1 190"}},
		{"/rounds/pump-health/12", []string{"Received 2 of 3", "brno-line-a quarantined in quarantine since round 11"}},
		{"/rounds/pump-health", []string{"2 of 3 received, 1 not used"}},
		{"/?zone=D", []string{"1 gateway, 1 machine", "feed-pump-2", "Clear"}},
		{"/?q=BOOSTER", []string{"1 gateway, 2 machines"}},
		{"/?q=nowhere", []string{"Nothing matches", "Show all"}},
		{"/gateways/cork-utilities", []string{"not connected", "3 h ago", "41 002 311", "in 9 d", "Its certificate ends soon", "booster-2",
			"pump-health 13 abandoned declined running on battery", "booster-1 cork-utilities zone C 1.22 active"}},
		{"/gateways/augsburg-hall-2", []string{"3 412 0.00185 % not finite 12 queue full 3 400", "Cannot take part in pump-autoencoder : needs 300 feature vectors, has 212"}},
		{"/gateways/augsburg-hall-2/machines/feed-pump-2", []string{"zone D 3.42 In alarm. More than twice the alarm threshold: act now.",
			"pressure.ripple 5 %", "scored against its own baseline", "zone D 3.61 active 2 h ago ongoing inner race 92 %", "zone C 1.09 cleared right 30 h ago 7 min",
			"Fault inner race 92 % likely, says bearing-faults v4 What", "inner race 18.4 dB", "The lines accuse the inner race, if anything is wrong. Channel vibration;",
			"340 h of operation left; 90 % likely between 210 h and 520 h", "Predicted by pump-life v7 3 h ago", "The score rises by 0.21 a day.",
			"score adwin 2.44 × 9 d ago", "temperature.mean whole class psi 2.31 × 2 d ago", "Precision 75 % 3 right, 1 wrong Recall 100 % 0 missed",
			"False alarms a month 0.25 a machine, in 2 900 h watched"}},
		{"/gateways/brno-line-a/machines/cooling-pump", []string{"more than 4 000 h of operation left Predicted by pump-life v7",
			"The score rises by 0.01 a day and reaches the alarm threshold in about 16 d, if it goes on so."}},
		{"/gateways/brno-line-a/machines/mixer-3", []string{"Learning its baseline; scores follow.", "No reasons reported"}},
		{"/gateways/cork-utilities/machines/booster-1", []string{"Gateway not connected , last heard 3 h ago"}},
		{"/rounds", []string{"1 open round", "pump-health live autoencoder for process-pump; model v12, 12 of 20 rounds committed; 2 of 2 connected gateways ready",
			"13 open attempt 2 deadline in 9 min 1 of 2 received", "13 abandoned 1 of 2 updates at the deadline 1 of 3 received, 2 not used",
			"brno-line-a rejected update holds an unusable number: enc.w[3] = NaN", "40.0 KiB 80.0 KiB", "4 older rounds of pump-health",
			"no global model yet", "needs 300 feature vectors, has 212 augsburg-hall-2 , brno-line-a"}},
		{"/rounds/pump-health", []string{"Round 1 committed 3 of 3 received"}},
		{"/rounds/pump-health/13", []string{"Attempt 2", "Attempt 1", "declined running on battery"}},
		{"/rounds/pump-health/12", []string{"samples 3500"}},
		{"/models", []string{"12 versions", "pump-health v12 live 2 3 3 500 0.0610 12 right, 1 wrong, 2 missed 0.39 false a machine-month 10 114", "pump-health v1 superseded 0 3 3 500 0.8600 – 10 114", "40.5 KiB"}},
		{"/jobs", []string{"2 configured", "pump-health live Class process-pump Model autoencoder Version v12 Rounds 12 of 20 Ready 2 of 2 connected Digest 4f024f024f",
			"How right the alarms of v12 were Precision 92 % 12 right, 1 wrong Recall 86 % 2 missed", "Drift temperature.mean whole class 3 of 3 machines, since 2 d ago : the process or the season score 1 of 3 machines, since 9 d ago : rather a fault",
			"Rounds 0, no end planned", "Waiting needs 300 feature vectors, has 212 augsburg-hall-2 , brno-line-a"}},
		{"/alarms", []string{"2 active", "feed-pump-2 augsburg-hall-2 zone D 3.61 active", "cooling-pump brno-line-a zone C 1.31 cleared wrong 40 min ago 11 min pressure.ripple 80 %"}},
	}
	for _, v := range views {
		t.Run(v.path, func(t *testing.T) {
			rec := get(t, plantNow, v.path)
			if rec.Code != http.StatusOK {
				t.Fatalf("status %d", rec.Code)
			}
			got := text(rec.Body.String())
			for _, want := range v.says {
				if !strings.Contains(got, want) {
					t.Errorf("does not say %q; it says\n%s", want, got)
				}
			}
		})
	}
}

// Active alarms come first although a newer one has cleared.
func TestPage_ActiveAlarmsFirst(t *testing.T) {
	got := text(get(t, plantNow, "/alarms").Body.String())
	previous := -1
	for _, peak := range []string{"3.61", "1.22", "1.31", "1.09"} {
		at := strings.Index(got, peak)
		if at <= previous {
			t.Fatalf("alarm with peak %s is out of order in\n%s", peak, got)
		}
		previous = at
	}
}

func TestPage_CertificateEnded(t *testing.T) {
	s := plant(noon)
	s.Gateways[2].CertExpires = noon.Add(-26 * time.Hour)
	if got := text(get(t, at(s), "/gateways/cork-utilities").Body.String()); !strings.Contains(got, "26 h ago") || !strings.Contains(got, "must enrol again with a new token") || strings.Contains(got, "ends soon") {
		t.Errorf("an ended certificate says %s", got)
	}
}

func TestPage_QuarantineUntilReleasedByHand(t *testing.T) {
	s := plant(noon)
	s.Gateways[1].Quarantine[0].ReleaseAfter = 0
	s.Rounds[2].Participants = nil // a version made to forget a gateway has none
	if got := text(get(t, at(s), "/gateways/brno-line-a").Body.String()); !strings.Contains(got, "counts again once a person releases it") {
		t.Errorf("quarantine says %s", got)
	}
	if got := text(get(t, at(s), "/gateways/cork-utilities").Body.String()); strings.Contains(got, "quarantine") {
		t.Errorf("another gateway says %s", got)
	}
	if got := text(get(t, at(s), "/rounds/pump-health/12").Body.String()); !strings.Contains(got, "No participant.") {
		t.Errorf("a round without participants says %s", got)
	}
}

func TestPage_WorstFirst(t *testing.T) {
	got := get(t, plantNow, "/?sort=worst").Body.String()
	_, got, _ = strings.Cut(got, "<table")
	augsburg, brno, cork := strings.Index(got, ">augsburg"), strings.Index(got, ">brno"), strings.Index(got, ">cork")
	if augsburg < 0 || cork < augsburg || brno < cork { // worst scores 3.42, 1.12, 0.78
		t.Errorf("order is augsburg %d, cork %d, brno %d", augsburg, cork, brno)
	}
}

func TestPage_EmptyTellsWhatToDo(t *testing.T) {
	nobody := at(fleet.Snapshot{At: noon, Version: "0.1.0", Started: noon})
	for path, want := range map[string]string{
		"/":       "millwright-coordinator token create",
		"/rounds": "Add one under jobs: in the coordinator's configuration",
		"/jobs":   "millwright-coordinator check",
		"/models": "Until the first, every machine is watched by its own local model",
		"/alarms": "No alarm so far",
	} {
		rec := get(t, nobody, path)
		if got := text(rec.Body.String()); rec.Code != http.StatusOK || !strings.Contains(got, want) {
			t.Errorf("%s: status %d, does not say %q: %s", path, rec.Code, want, got)
		}
	}
}

func TestPage_NotFound(t *testing.T) {
	for _, path := range []string{"/nope", "/gateways", "/gateways/nobody", "/gateways/brno-line-a/machines/ghost", "/rounds/nothing", "/rounds/pump-health/99", "/rounds/pump-health/x", "/static/../handler.go", "/models/extra"} {
		rec := get(t, plantNow, path)
		if rec.Code != http.StatusNotFound && rec.Code != http.StatusTemporaryRedirect && rec.Code != http.StatusMovedPermanently {
			t.Errorf("%s: status %d", path, rec.Code)
		}
	}
	if got := text(get(t, plantNow, "/gateways/nobody").Body.String()); !strings.Contains(got, "No gateway is named “nobody”") {
		t.Errorf("the page of an unknown gateway says %s", got)
	}
}

// Names and reasons come from gateways: whatever they hold is shown, never run.
func TestPage_HostileText(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=x onerror='alert(2)'>{{.}}</tbody>` + "\x00\u202e"
	s := plant(noon)
	s.Gateways[0].Name, s.Gateways[0].Version = evil, evil
	s.Gateways[0].DroppedTotal = map[string]uint64{evil: 5}
	s.Gateways[0].Machines[1].Name, s.Gateways[0].Machines[1].Class = evil, evil
	s.Gateways[0].Machines[1].State, s.Gateways[0].Machines[0].Zone = evil, evil
	s.Gateways[0].Machines[1].Reasons[0].Feature = evil
	s.Jobs[1].Name, s.Jobs[1].Digest, s.Jobs[1].Waiting = evil, evil, map[string]string{evil: evil}
	s.Rounds[0].Job, s.Rounds[0].Reason = evil, evil
	s.Rounds[0].Participants[0].Gateway, s.Rounds[0].Participants[0].Reason, s.Rounds[0].Participants[0].State = evil, evil, evil
	s.Rounds[0].Metrics = map[string]float64{evil: 1}
	s.Models[0].Job, s.Models[0].Digest, s.Models[0].Release = evil, evil, evil
	s.Alarms[1].Gateway, s.Alarms[1].Machine, s.Alarms[1].ID, s.Alarms[1].Zone = evil, evil, evil, evil
	paths := []string{"/", "/rounds", "/models", "/jobs", "/alarms", gatewayURL(evil), machineURL(evil, evil), roundsURL(evil), roundURL(evil, 13), "/gateways/%22%3E%3Cscript%3E", "/?q=%22%3E%3Cscript%3E"}
	for _, path := range paths {
		rec := get(t, at(s), path)
		body := rec.Body.String()
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") || strings.Contains(body, "onerror='") {
			t.Errorf("%.40s: hostile text came through unescaped", path)
		}
		checkMarkup(t, path, body)
	}
	for _, path := range []string{gatewayURL(evil), machineURL(evil, evil), roundURL(evil, 13)} {
		if rec := get(t, at(s), path); rec.Code != http.StatusOK {
			t.Errorf("%.60s: status %d: the link of a strange name must lead there", path, rec.Code)
		}
	}
}

// checkMarkup reads a page as XML, which our templates are but for void
// elements and attributes without value: each element is closed where it should
// be, each id is there once, nothing is styled or scripted inline.
func checkMarkup(t *testing.T, path, body string) {
	t.Helper()
	body = strings.Map(func(r rune) rune { // XML forbids control characters, HTML shows nothing for them
		if r < ' ' && r != '\n' && r != '\t' || r == 0xFFFE || r == 0xFFFF {
			return ' '
		}
		return r
	}, body)
	if !utf8.ValidString(body) {
		t.Errorf("%.60s: not UTF-8", path)
	}
	d := xml.NewDecoder(strings.NewReader(body))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "link", "input"}, xml.HTMLEntity
	ids := map[string]bool{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%.60s: markup: %v", path, err)
			return
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range start.Attr {
			name := strings.ToLower(a.Name.Local)
			if name == "style" || strings.HasPrefix(name, "on") {
				t.Errorf("%.60s: <%s> has an inline %s, which the content security policy refuses", path, start.Name.Local, name)
			}
			if name == "id" {
				if ids[a.Value] {
					t.Errorf("%.60s: id %q is there twice", path, a.Value)
				}
				ids[a.Value] = true
			}
		}
	}
}

// Nothing on any page reads NaN, Inf, <nil> or %!: whatever gateways report.
func TestPage_NumbersAreNumbers(t *testing.T) {
	s := plant(noon)
	bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, math.MaxFloat64, math.SmallestNonzeroFloat64}
	for i, x := range bad {
		m := &s.Gateways[i%3].Machines[i%2]
		m.Score, m.Reasons = x, contributions("vibration.rms", x, "pressure.ripple", 0.3)
		r := &s.Rounds[2+i]
		r.Seconds, r.Metrics = x, map[string]float64{"loss": x, "other": x}
		r.Participants[0].Weight, r.Participants[0].Seconds, r.Participants[0].Metrics = x, x, map[string]float64{"loss": x}
		s.Models[i].Weight, s.Models[i].Metrics, s.Models[i].Parameters, s.Models[i].Participants = x, nil, -i, -i
		s.Alarms[i%4].Peak = x
	}
	s.Gateways[1].LastSeen, s.Gateways[1].Enrolled, s.Gateways[1].CertExpires = time.Time{}, time.Time{}, time.Time{}
	s.Rounds[0].Participants = nil
	s.Rounds[9].Metrics = nil
	wrong := regexp.MustCompile(`NaN|[Ii]nf\b|<nil>|%!|0001-01-01`)
	for _, path := range []string{"/", "/rounds", "/rounds/pump-health", "/rounds/pump-health/12", "/rounds/pump-health/11", "/models", "/jobs", "/alarms",
		"/gateways/brno-line-a", "/gateways/augsburg-hall-2/machines/feed-pump-1", "/gateways/augsburg-hall-2/machines/feed-pump-2"} {
		rec := get(t, at(s), path)
		body := strings.ReplaceAll(rec.Body.String(), "enc.w[3] = NaN", "") // a reason in words
		if rec.Code != http.StatusOK {
			t.Errorf("%s: status %d", path, rec.Code)
		}
		if found := wrong.FindStringIndex(body); found != nil {
			t.Errorf("%s shows %q", path, body[max(0, found[0]-80):found[1]])
		}
		checkMarkup(t, path, body)
	}
	for _, name := range []string{"snapshot", "fleet", "gateways", "jobs", "rounds", "models", "alarms"} {
		if rec := get(t, at(s), "/api/v1/"+name); rec.Code != http.StatusOK {
			t.Errorf("/api/v1/%s: status %d: %s", name, rec.Code, rec.Body)
		}
	}
}

// A page of a large fleet is bounded, and every gateway is on one of its pages.
func TestPage_LargeFleetIsPaged(t *testing.T) {
	many := at(large(noon, 500))
	seen := map[string]bool{}
	names := regexp.MustCompile(`href="/gateways/(gateway-\d+)"`)
	for page := 1; page <= 10; page++ {
		body := get(t, many, fmt.Sprintf("/?page=%d", page)).Body.String()
		if len(body) > 300_000 {
			t.Errorf("page %d has %d bytes", page, len(body))
		}
		_, body, _ = strings.Cut(body, "<table")
		for _, m := range names.FindAllStringSubmatch(body, -1) {
			seen[m[1]] = true
		}
	}
	if len(seen) != 500 {
		t.Errorf("the pages hold %d of 500 gateways", len(seen))
	}
	if got := text(get(t, many, "/").Body.String()); !strings.Contains(got, "1–50 of 500 Previous Next") {
		t.Error("page 1 does not say that it is one of ten")
	}
	for path, limit := range map[string]int{"/rounds": 60_000, "/rounds/pump-health/4": 60_000, "/?page=-3": 300_000, "/?page=99999999999999999999": 300_000, "/?page=1000": 300_000} {
		if rec := get(t, many, path); rec.Code != http.StatusOK || rec.Body.Len() > limit {
			t.Errorf("%s: status %d, %d bytes", path, rec.Code, rec.Body.Len())
		}
	}
}

func TestPage_Markup(t *testing.T) {
	for _, path := range []string{"/", "/?zone=D&q=feed", "/gateways/cork-utilities", "/gateways/augsburg-hall-2/machines/feed-pump-2", "/rounds", "/rounds/pump-health", "/rounds/pump-health/13", "/models", "/jobs", "/alarms", "/nope"} {
		body := get(t, plantNow, path).Body.String()
		checkMarkup(t, path, body)
		if strings.Count(body, "<h1") != 1 || !strings.Contains(body, "<main id=\"main\"") || !strings.Contains(body, `lang="en"`) {
			t.Errorf("%s: wants one h1, a main and a language", path)
		}
	}
}

func TestHandler_Headers(t *testing.T) {
	for _, target := range []string{"/", "/nope", "/api/v1/fleet", "/api/v1/nope", "/static/app.css"} {
		head := get(t, plantNow, target).Header()
		if csp := head.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: content security policy %q", target, csp)
		}
		if head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Referrer-Policy") != "no-referrer" || head.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", target, head)
		}
		if got := head.Get("Cache-Control"); !strings.HasPrefix(target, "/static/") && got != "no-store" {
			t.Errorf("%s: Cache-Control %q, want no-store", target, got)
		}
	}
}

func TestHandler_OnlyReads(t *testing.T) {
	h := New(newFakeViewer(plantNow), testOptions(), quiet())
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		for _, path := range []string{"/", "/api/v1/fleet", "/events", "/static/app.css"} {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
			if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: status %d, Allow %q", method, path, rec.Code, rec.Header().Get("Allow"))
			}
			wantError(t, rec)
		}
	}
}

func TestHandler_StaticFiles(t *testing.T) {
	body := get(t, plantNow, "/").Body.String()
	for _, kind := range []struct{ name, mime string }{{"app.css", "text/css"}, {"app.js", "text/javascript"}, {"icon.svg", "image/svg+xml"}} {
		address := regexp.MustCompile(`/static/` + regexp.QuoteMeta(kind.name) + `\?v=[0-9a-f]{12}`).FindString(body)
		rec := get(t, plantNow, address)
		if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), kind.mime) || !strings.Contains(rec.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%q: status %d, headers %v", address, rec.Code, rec.Header())
		}
		if rec := get(t, plantNow, "/static/"+kind.name+"?v=old"); rec.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("an old address of %s may be kept: %q", kind.name, rec.Header().Get("Cache-Control"))
		}
		again := httptest.NewRequest(http.MethodGet, address, nil)
		again.Header.Set("If-None-Match", rec.Header().Get("ETag"))
		second := httptest.NewRecorder()
		New(newFakeViewer(plantNow), testOptions(), quiet()).ServeHTTP(second, again)
		if second.Code != http.StatusNotModified {
			t.Errorf("%s with its ETag: status %d", kind.name, second.Code)
		}
	}
	if rec := get(t, plantNow, "/static/none.css"); rec.Code != http.StatusNotFound {
		t.Errorf("a file that is not there: status %d", rec.Code)
	}
}

func BenchmarkPage_500Gateways(b *testing.B) {
	s := large(noon, 500)
	h := New(newFakeViewer(at(s)), testOptions(), quiet())
	for b.Loop() {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		b.ReportMetric(float64(rec.Body.Len()), "page-bytes")
	}
}
