// Package web is the coordinator's page and its JSON API: every view is rendered
// on the server from one fleet.Snapshot, works without JavaScript, and is kept
// current in place by server-sent events.
//
// It only reads. Whoever can reach it sees the whole fleet, so the coordinator
// listens on loopback unless its configuration says otherwise.
package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// Options tunes the page. The zero value is usable.
type Options struct {
	// Location is the time zone of every time shown. Default time.Local.
	Location *time.Location
	// PageSize bounds the gateways, rounds, models or alarms on one page. Default 50.
	PageSize int
	// MinInterval is the least time between two updates of one open page;
	// changes in between arrive together. Default 500 ms.
	MinInterval time.Duration
	// Heartbeat is the longest silence on an event stream. Browsers take three
	// missed ones for a lost connection. Default 10 s.
	Heartbeat time.Duration
	// MaxStreams bounds the open event streams; one more is answered with 503,
	// and its page stays usable by reloading. Default 128.
	MaxStreams int
}

func (o Options) withDefaults() Options {
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.PageSize <= 0 {
		o.PageSize = 50
	}
	if o.MinInterval <= 0 {
		o.MinInterval = 500 * time.Millisecond
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 10 * time.Second
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = 128
	}
	return o
}

type handler struct {
	viewer   fleet.Viewer
	opts     Options
	log      *slog.Logger
	renderer *renderer
	streams  atomic.Int64
}

// New returns the handler of the page ("/", "/static/…", "/events") and of the
// API ("/api/v1/…"). It answers GET and HEAD only and starts no goroutine. Event
// streams end with their request's context: a server that shuts down must cancel
// its base context, or it waits for every open page.
func New(viewer fleet.Viewer, opts Options, log *slog.Logger) http.Handler {
	h := &handler{viewer: viewer, opts: opts.withDefaults(), log: log, renderer: newRenderer()}
	mux := http.NewServeMux()
	mux.HandleFunc("/", h.page)
	mux.HandleFunc("/events", h.events)
	mux.HandleFunc("/static/", h.renderer.assets.serve)
	h.routeAPI(mux)
	return guard(mux)
}

// guard sets the headers every answer carries and refuses to change anything.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			head.Set("Allow", "GET, HEAD")
			writeError(w, http.StatusMethodNotAllowed, "the page only reads: "+r.Method+" is not possible",
				"use GET; change jobs in the coordinator's configuration, enrol gateways with "+tokenCommand)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// page answers one view, or the "nothing here" view with 404.
func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	snap := h.snapshot()
	v := h.view(&snap, r.URL.EscapedPath(), r.URL.Query(), false)
	var buf bytes.Buffer
	if err := h.renderer.document(&buf, v, &snap, h.opts.Location); err != nil {
		h.log.Error("render page", "path", r.URL.Path, "error", err)
		writeError(w, http.StatusInternalServerError, "the page could not be rendered",
			"see the coordinator's log; the same data is at /api/v1/snapshot")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(v.Status)
	_, _ = w.Write(buf.Bytes()) // an error here means that the reader left
}

// snapshot takes a snapshot fit for display, see clean.
func (h *handler) snapshot() fleet.Snapshot {
	s := h.viewer.Snapshot()
	clean(&s)
	return s
}

// segments splits an escaped path; "/" has none.
func segments(escapedPath string) []string {
	trimmed := strings.Trim(escapedPath, "/")
	if trimmed == "" {
		return nil
	}
	return strings.Split(trimmed, "/")
}
