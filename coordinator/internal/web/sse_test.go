package web

import (
	"bufio"
	"context"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

type event struct {
	name string
	update
}

// readEvent reads the next event of a stream.
func readEvent(t *testing.T, r *bufio.Reader) event {
	t.Helper()
	var e event
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("read event: %v", err)
		}
		field, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		switch field {
		case "event":
			e.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.update); err != nil {
				t.Fatalf("decode event %q: %v", value, err)
			}
		case "":
			return e
		}
	}
}

func (e event) ids() string {
	var ids []string
	for _, s := range e.Swap {
		ids = append(ids, strings.SplitN(s.ID, "-", 2)[0])
	}
	return strings.Join(ids, " ")
}

func eventsURL(path string) string { return "/events?path=" + url.QueryEscape(path) }

// Over real HTTP: first the whole view, then only what changed.
func TestEvents_DeliverWhatChanged(t *testing.T) {
	viewer := newFakeViewer(plantNow)
	server := httptest.NewServer(New(viewer, Options{MinInterval: time.Millisecond, Location: noon.Location()}, quiet()))
	defer func() { server.CloseClientConnections(); server.Close() }()
	resp, err := http.Get(server.URL + eventsURL("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("status %d, type %q", resp.StatusCode, got)
	}
	r := bufio.NewReader(resp.Body)

	first := readEvent(t, r)
	if first.name != "update" || first.ids() != "main nav" || first.Title != "(2) Fleet · Millwright" || first.At != noon.UnixMilli() {
		t.Fatalf("first event %s with %q, title %q, at %d", first.name, first.ids(), first.Title, first.At)
	}
	if got := text(first.Swap[0].HTML); !strings.Contains(got, "feed-pump-1 process-pump zone A 0.31") {
		t.Errorf("the first event does not hold the view: %s", got)
	}

	viewer.set(func() fleet.Snapshot { // one machine's score
		s := plant(noon)
		s.Gateways[0].Machines[0].Score = 0.37
		return s
	})
	second := readEvent(t, r)
	if second.ids() != "group" || !strings.HasPrefix(second.Swap[0].HTML, `<tbody id="`+second.Swap[0].ID+`"`) {
		t.Fatalf("after one score changed, sent %q: %.100s", second.ids(), second.Swap[0].HTML)
	}
	if got := text(second.Swap[0].HTML); !strings.Contains(got, "feed-pump-1 process-pump zone A 0.37") || strings.Contains(got, "brno") {
		t.Errorf("the piece holds %s", got)
	}

	viewer.set(func() fleet.Snapshot { // a gateway goes, and its alarm ends: the frame differs
		s := plant(noon)
		s.Gateways = s.Gateways[:2]
		s.Alarms[2].Cleared = noon
		return s
	})
	third := readEvent(t, r)
	if third.ids() != "main nav" || third.Title != "(1) Fleet · Millwright" || strings.Contains(third.Swap[0].HTML, "cork-utilities</a><span class=\"gone\"") {
		t.Errorf("after a gateway left, sent %q, title %q", third.ids(), third.Title)
	}
}

// A page of what is not there comes alive when it is.
func TestEvents_ViewAppears(t *testing.T) {
	viewer := newFakeViewer(at(fleet.Snapshot{At: noon}))
	server := httptest.NewServer(New(viewer, Options{MinInterval: time.Millisecond}, quiet()))
	defer func() { server.CloseClientConnections(); server.Close() }()
	resp, err := http.Get(server.URL + eventsURL("/gateways/brno-line-a"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	if got := text(readEvent(t, r).Swap[0].HTML); !strings.Contains(got, "No gateway is named “brno-line-a”") {
		t.Errorf("before: %s", got)
	}
	viewer.set(plantNow)
	if e := readEvent(t, r); e.ids() != "main nav" || !strings.Contains(text(e.Swap[0].HTML), "cooling-pump process-pump zone B 0.78") {
		t.Errorf("after: %q %s", e.ids(), text(e.Swap[0].HTML))
	}
}

// recorder is a response writer that keeps the time of each event.
type recorder struct {
	mu     sync.Mutex
	header http.Header
	status int
	events []string
	times  []time.Time
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}
func (r *recorder) Flush() {}
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.times = append(r.events, string(p)), append(r.times, time.Now())
	return len(p), nil
}

func (r *recorder) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if strings.HasPrefix(e, "event: "+name+"\n") {
			n++
		}
	}
	return n
}

// stream serves one event stream until stop is called, which waits for its end.
func openStream(h http.Handler, path string) (rec *recorder, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	rec = &recorder{header: http.Header{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, eventsURL(path), nil))
	}()
	return rec, func() { cancel(); <-done }
}

// However often the fleet changes, a page is sent at most two updates a second,
// and the last change always arrives.
func TestEvents_Coalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		viewer := newFakeViewer(plantNow)
		rec, stop := openStream(New(viewer, testOptions(), quiet()), "/")
		defer stop()
		for i := range 1000 { // 10 s of a change each 10 ms
			time.Sleep(10 * time.Millisecond)
			viewer.set(func() fleet.Snapshot {
				s := plant(noon)
				s.Gateways[0].ReceivedTotal = uint64(i)
				s.Gateways[0].Machines[0].Score = 0.1 + float64(i)/10000
				return s
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := rec.count("update"); n > 22 || n < 18 {
			t.Errorf("%d updates in 10 s, want about 20", n)
		}
		rec.mu.Lock()
		defer rec.mu.Unlock()
		for i := 1; i < len(rec.times); i++ {
			if gap := rec.times[i].Sub(rec.times[i-1]); gap < 500*time.Millisecond {
				t.Errorf("events %d and %d are %v apart", i-1, i, gap)
			}
		}
		if last := rec.events[len(rec.events)-1]; !strings.Contains(last, "0.20") { // 0.1 + 999/10000
			t.Errorf("the last change did not arrive: %.300s", last)
		}
	})
}

// Nothing to say is said by a heartbeat, and a change of nothing visible is silent.
func TestEvents_Heartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		viewer := newFakeViewer(plantNow)
		rec, stop := openStream(New(viewer, testOptions(), quiet()), "/models")
		time.Sleep(35 * time.Second)
		viewer.set(plantNow)
		time.Sleep(35 * time.Second)
		synctest.Wait()
		if updates, beats := rec.count("update"), rec.count("beat"); updates != 1 || beats < 6 || beats > 7 {
			t.Errorf("%d updates and %d heartbeats in 70 s of silence, want 1 and 6 or 7", updates, beats)
		}
		stop()
	})
}

// Time passing alone is no news: a live piece carries no relative time.
func TestEvents_TimeIsNoChange(t *testing.T) {
	for _, path := range []string{"/", "/rounds", "/models", "/alarms", "/gateways/augsburg-hall-2"} {
		synctest.Test(t, func(t *testing.T) {
			rec, stop := openStream(New(newFakeViewer(plantNow), testOptions(), quiet()), path)
			time.Sleep(time.Second)
			synctest.Wait()
			stop()
			if rec.count("update") != 1 || strings.Contains(rec.events[0], " ago<") {
				t.Errorf("%s: a live view holds relative times", path)
			}
		})
	}
}

func TestEvents_Limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(newFakeViewer(plantNow), Options{MaxStreams: 2}, quiet())
		_, stop1 := openStream(h, "/")
		_, stop2 := openStream(h, "/")
		synctest.Wait()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, eventsURL("/"), nil))
		if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
			t.Errorf("third of two streams: status %d", rec.Code)
		}
		wantError(t, rec)
		stop1()
		third, stop3 := openStream(h, "/")
		synctest.Wait()
		if third.status != http.StatusOK {
			t.Errorf("after one closed: status %d", third.status)
		}
		stop2()
		stop3()
	})
}

func TestEvents_Head(t *testing.T) {
	rec := httptest.NewRecorder()
	New(newFakeViewer(plantNow), testOptions(), quiet()).ServeHTTP(rec, httptest.NewRequest(http.MethodHead, eventsURL("/"), nil))
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "text/event-stream" || rec.Body.Len() != 0 {
		t.Errorf("status %d, headers %v, %d bytes", rec.Code, rec.Header(), rec.Body.Len())
	}
}

func TestEvents_BadPath(t *testing.T) {
	for _, path := range []string{"", "fleet", "https://example.com/", "//example.com/", "%zz", "/%zz"} {
		rec := get(t, plantNow, "/events?path="+url.QueryEscape(path))
		if rec.Code != http.StatusBadRequest {
			t.Errorf("path %q: status %d", path, rec.Code)
		}
		wantError(t, rec)
	}
}

// FuzzView: whatever path and query are asked for, a view is rendered whole.
func FuzzView(f *testing.F) {
	for _, seed := range []string{"/", "/?q=pump&zone=D&sort=worst&page=2", "/gateways/%2F/machines/%00", "/rounds/pump-health/13?page=-1", "//x", "/gateways/%zz", "/alarms?page=9e9", "/rounds/%ff", "/?q=%ff"} {
		f.Add(seed)
	}
	h := &handler{viewer: newFakeViewer(plantNow), opts: testOptions().withDefaults(), log: quiet(), renderer: newRenderer()}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		snap := h.snapshot()
		v := h.view(&snap, u.EscapedPath(), u.Query(), true)
		parts, err := h.renderer.parts(v)
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		main, err := h.renderer.main(v)
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		checkMarkup(t, target, main)
		if len(parts.pieces) == 0 || v.Title == "" {
			t.Errorf("%q: a view without navigation or title", target)
		}
	})
}

func BenchmarkEvents_500Gateways(b *testing.B) {
	h := &handler{viewer: newFakeViewer(at(large(noon, 500))), opts: testOptions().withDefaults(), log: quiet(), renderer: newRenderer()}
	rec := &recorder{header: http.Header{}}
	s := &stream{h: h, out: rec, control: http.NewResponseController(rec), path: "/", seed: maphash.MakeSeed()}
	for b.Loop() {
		if _, err := s.sendChanges(); err != nil {
			b.Fatal(err)
		}
		rec.events, rec.times = nil, nil
	}
}
