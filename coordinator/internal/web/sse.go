package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// writeTimeout ends a stream whose reader has stopped reading.
const writeTimeout = 10 * time.Second

// update is what the browser is sent: parts of the page to put in place of
// those with the same id.
type update struct {
	At     int64  `json:"at"` // server's clock, Unix milliseconds
	Assets string `json:"assets"`
	Title  string `json:"title"`
	Swap   []swap `json:"swap"`
}

type swap struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// events keeps the page named by the parameter "path" current. The first event
// holds the whole view, as nobody knows what changed since it was loaded; later
// ones hold only the pieces that differ from what was sent before.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(r.URL.Query().Get("path"))
	if err != nil || target.IsAbs() || target.Host != "" || !strings.HasPrefix(target.Path, "/") {
		writeError(w, http.StatusBadRequest, "the parameter path is not the path of a view",
			"ask for /events?path=%2F or another path of this page, percent-encoded")
		return
	}
	if h.streams.Add(1) > int64(h.opts.MaxStreams) {
		h.streams.Add(-1)
		w.Header().Set("Retry-After", "30")
		writeError(w, http.StatusServiceUnavailable, fmt.Sprintf("%d pages are open already", h.opts.MaxStreams),
			"close one, or reload this page for newer numbers")
		return
	}
	defer h.streams.Add(-1)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	s := &stream{h: h, out: w, control: http.NewResponseController(w), path: target.EscapedPath(), query: target.Query(), seed: maphash.MakeSeed()}
	// The stream ends when the reader leaves or the server stops; both are ordinary.
	if err := s.run(r); err != nil {
		h.log.Debug("event stream ended", "path", target.Path, "error", err)
	}
}

// stream is one open page.
type stream struct {
	h       *handler
	out     http.ResponseWriter
	control *http.ResponseController
	path    string
	query   url.Values
	seed    maphash.Seed
	sent    map[string]uint64 // hash of each piece as last sent
}

func (s *stream) run(r *http.Request) error {
	done := r.Context().Done()
	beat := time.NewTicker(s.h.opts.Heartbeat)
	defer beat.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-done:
			return nil
		}
		changed := s.h.viewer.Changed() // before the snapshot, so that no change falls between
		sent, err := s.sendChanges()
		if err != nil {
			return err
		}
		if sent {
			beat.Reset(s.h.opts.Heartbeat)
		}
		for waiting := true; waiting; {
			select {
			case <-changed:
				waiting = false
			case <-beat.C:
				if err := s.send("beat", fmt.Appendf(nil, `{"at":%d}`, time.Now().UnixMilli())); err != nil {
					return err
				}
			case <-done:
				return nil
			}
		}
		pause.Reset(s.h.opts.MinInterval)
	}
}

// sendChanges renders the view and sends what differs from the last time.
func (s *stream) sendChanges() (bool, error) {
	snap := s.h.snapshot()
	v := s.h.view(&snap, s.path, s.query, true)
	parts, err := s.h.renderer.parts(v)
	if err != nil {
		return false, fmt.Errorf("render view %q: %w", s.path, err)
	}
	hashes := make(map[string]uint64, len(parts.pieces)+2)
	u := update{At: snap.At.UnixMilli(), Assets: s.h.renderer.assets.version, Title: v.documentTitle()}
	// The frame is the view without its pieces: when it differs, pieces came,
	// went or moved, and the view is sent whole.
	hashes["main"] = maphash.String(s.seed, parts.frame)
	whole := s.sent["main"] != hashes["main"]
	if whole {
		html, err := s.h.renderer.main(v)
		if err != nil {
			return false, fmt.Errorf("render view %q: %w", s.path, err)
		}
		u.Swap = append(u.Swap, swap{ID: "main", HTML: html})
	}
	for _, p := range parts.pieces {
		hashes[p.ID] = maphash.String(s.seed, p.HTML)
		if s.sent[p.ID] != hashes[p.ID] && (!whole || !p.inMain) {
			u.Swap = append(u.Swap, p.swap)
		}
	}
	s.sent = hashes
	if len(u.Swap) == 0 {
		return false, nil
	}
	data, err := json.Marshal(u)
	if err != nil {
		return false, fmt.Errorf("encode update of view %q: %w", s.path, err)
	}
	return true, s.send("update", data)
}

func (s *stream) send(event string, data []byte) error {
	if err := s.deadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.out, "event: %s\ndata: %s\n\n", event, data); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	return s.deadline(time.Time{}) // once exceeded it could not be extended
}

// deadline bounds writes, where the writer can: otherwise the request's context does.
func (s *stream) deadline(t time.Time) error {
	if err := s.control.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
