package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// watcher follows the coordinator through the API that the page is made of, and
// prints what is new.
type watcher struct {
	url    string // of the page
	out    io.Writer
	began  time.Time
	client http.Client

	rounds map[string]bool // committed or abandoned, and told
	alarms map[string]bool // raised or cleared, and told
}

func newWatcher(url string, out io.Writer) *watcher {
	return &watcher{
		url: url, out: out, began: time.Now(), client: http.Client{Timeout: 5 * time.Second},
		rounds: map[string]bool{}, alarms: map[string]bool{},
	}
}

// snapshot asks for the state of the federation.
func (w *watcher) snapshot(ctx context.Context) (fleet.Snapshot, error) {
	var s fleet.Snapshot
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/api/v1/snapshot", nil)
	if err != nil {
		return s, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask the coordinator for its state: %s", resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// until takes snapshots, tells what is new, and returns the first one for which
// done is true. It fails when ctx ends, when limit has passed or when died yields.
func (w *watcher) until(ctx context.Context, limit time.Duration, died <-chan error, waitingFor string, done func(fleet.Snapshot) bool) (fleet.Snapshot, error) {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := w.snapshot(ctx)
		if err == nil {
			w.tell(s)
			if done(s) {
				return s, nil
			}
		}
		if time.Now().After(deadline) {
			if err != nil {
				return s, fmt.Errorf("wait for %s: %w", waitingFor, err)
			}
			return s, fmt.Errorf("wait for %s: not after %v", waitingFor, limit)
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case err := <-died:
			return s, err
		case <-tick.C:
		}
	}
}

// tell prints each ended round and each alarm once, oldest first.
func (w *watcher) tell(s fleet.Snapshot) {
	for i := len(s.Rounds) - 1; i >= 0; i-- {
		r := s.Rounds[i]
		key := fmt.Sprintf("%s %d %d", r.Job, r.Round, r.Attempt)
		if r.State == "open" || w.rounds[key] {
			continue
		}
		w.rounds[key] = true
		w.line("round  %-12s %2d  %s  %d participants%s  %s  %.0f ms", r.Job, r.Round, r.State, received(r), lossText(r),
			bytesText(r.BytesIn+r.BytesOut), 1000*r.Seconds)
	}
	for i := len(s.Alarms) - 1; i >= 0; i-- {
		a := s.Alarms[i]
		if key := a.ID; !w.alarms[key] {
			w.alarms[key] = true
			w.line("ALARM  %s on %s: zone %s, score %.2f, because of %s", a.Machine, a.Gateway, a.Zone, a.Peak, reasonsText(a.Reasons))
		}
		if key := a.ID + " cleared"; !a.Cleared.IsZero() && !w.alarms[key] {
			w.alarms[key] = true
			w.line("clear  %s on %s after %v", a.Machine, a.Gateway, a.Cleared.Sub(a.Raised).Round(time.Second))
		}
	}
}

func (w *watcher) line(format string, args ...any) {
	fmt.Fprintf(w.out, "%6.1fs  ", time.Since(w.began).Seconds())
	fmt.Fprintf(w.out, format+"\n", args...)
}

// received counts the participants whose update counted.
func received(r fleet.Round) int {
	n := 0
	for _, p := range r.Participants {
		if p.State == "received" {
			n++
		}
	}
	return n
}

func lossText(r fleet.Round) string {
	loss, ok := r.Metrics["loss"]
	if !ok {
		return ""
	}
	return fmt.Sprintf("  loss %.4f", loss)
}

func reasonsText(reasons []fleet.Contribution) string {
	text := ""
	for i, r := range reasons[:min(2, len(reasons))] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %.0f %%", r.Feature, 100*r.Share)
	}
	return text
}

func bytesText(n uint64) string {
	if n < 10_000 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1000)
}
