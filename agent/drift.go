package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/monitor"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/fedavg/job"
)

var _ pipeline.Watcher = listener{}

// watches are what monitors know of the machines, kept over restarts: how long each was
// watched by which model, and what drifts.
type watches struct {
	path    string
	log     *slog.Logger
	journal *journal.Journal
	labels  *labels.Book
	changed *notifier
	machine map[string]*watch // not changed after newWatches
}

// watch is one machine's.
type watch struct {
	mu       sync.Mutex
	features *monitor.Features // nil until the baseline is known
	digest   string            // of the features
	left     watchDocument     // by an earlier life, until Began
	score    monitor.ScoreWatch
	watched  monitor.Watched
	lead     time.Duration // of the live job

	quality  *monitor.Quality // as of
	judged   time.Time        //
	revision [2]uint64        // of labels and journal
}

// watchDocument is what is kept of one machine.
type watchDocument struct {
	Watched   monitor.Watched    `json:"watched"`
	Features  string             `json:"features,omitempty"` // what follows is of these
	Standings []monitor.Standing `json:"standings,omitempty"`
	Score     *monitor.Standing  `json:"score,omitempty"`
}

// newWatches goes on where an earlier run left off. It forgets machines that are not
// there any more.
func newWatches(path string, a *Agent) *watches {
	w := &watches{path: path, log: a.log, journal: a.journal, labels: a.labels, changed: &a.changed, machine: map[string]*watch{}}
	all := map[string]watchDocument{}
	durable.ReadChecked(path, a.log, func(body []byte) error {
		clear(all)
		return json.Unmarshal(body, &all)
	})
	for _, m := range a.cfg.Machines {
		one := &watch{left: all[m.Name], lead: job.Spec{}.WithDefaults().Labels.Lead}
		one.watched = one.left.Watched
		one.watched.Check()
		w.machine[m.Name] = one
	}
	return w
}

// Began implements pipeline.Watcher.
func (l listener) Began(machine string, spec job.Spec, features string, names []string, baseline [][]float64) {
	w := l.a.watches.machine[machine]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lead = spec.Labels.Lead
	if w.features != nil && w.digest == features {
		return // another job, the same features and baseline
	}
	w.features, w.digest, w.score = monitor.NewFeatures(names, baseline), features, monitor.ScoreWatch{}
	if w.left.Features == features {
		w.features.Resume(w.left.Standings)
		if s := w.left.Score; s != nil {
			w.score.Resume(*s)
		}
	}
	w.left = watchDocument{}
}

// Watched implements pipeline.Watcher.
func (l listener) Watched(machine string, spec job.Spec, out *infer.Output, z []float64, healthy bool) {
	w := l.a.watches.machine[machine]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched.Observe(out.At, spec.Features.Hop, spec.Name, out.Version, out.Score)
	if !healthy {
		return
	}
	news := w.features.Observe(out.At, z)
	if w.score.Observe(out.At, out.Score) || news {
		l.a.log.Info("drift changed", "machine", machine, "drifting", len(w.drift()))
	}
}

// drift lists what drifts, that of the score first. Called with mu held.
func (w *watch) drift() []monitor.Drift {
	list := w.score.Found(nil)
	if w.features != nil {
		return w.features.Found(list)
	}
	for _, s := range w.left.Standings { // since the start there was no window
		if s.Found {
			list = append(list, s.Drift)
		}
	}
	return list
}

// stale is how old the hours in a quality may be.
const stale = time.Minute

// of returns what drifts on a machine, and how right its alarms were, nil while nobody
// has labelled anything on this gateway.
func (w *watches) of(machine string) ([]monitor.Drift, *monitor.Quality) {
	one := w.machine[machine]
	revision := [2]uint64{w.labels.Revision(), w.journal.Revision()}
	one.mu.Lock()
	defer one.mu.Unlock()
	if now := time.Now(); one.judged.IsZero() || one.revision != revision || now.Sub(one.judged) > stale {
		one.judged, one.revision, one.quality = now, revision, nil
		if w.labels.Any() {
			one.quality = w.judge(machine, one)
		}
	}
	list := one.drift()
	if q := one.quality; q != nil {
		list = append(list, q.Drift...)
	}
	return list, one.quality
}

func (w *watches) judge(machine string, one *watch) *monitor.Quality {
	var mine []journal.Episode
	all := w.journal.Episodes(journal.MaxEpisodes) // newest first
	for _, e := range all {
		if e.Machine == machine {
			mine = append(mine, e)
		}
	}
	var since time.Time
	if len(all) == journal.MaxEpisodes { // older ones are forgotten
		since = all[len(all)-1].Raised
	}
	return monitor.Judge(mine, w.labels.Of(machine), &one.watched, one.lead, since)
}

// hours is how long a machine was watched.
func (w *watches) hours(machine string) float64 {
	one := w.machine[machine]
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.watched.Hours()
}

// watchesEvery is how often they are written, and what a power cut costs of hours. It is
// more often at first: labels are held only against what was watched, and an agent that is
// killed in its first hour would forget all of it.
const (
	watchesFirst = time.Minute
	watchesEvery = time.Hour
)

// run writes them now and then until ctx ends, and once more.
func (w *watches) run(ctx context.Context) error {
	return durable.NowAndThen(ctx, watchesFirst, watchesEvery, w.log.With("file", w.path), w.write)
}

func (w *watches) write() error {
	all := map[string]watchDocument{}
	for name, one := range w.machine {
		one.mu.Lock()
		d := one.left
		if one.features != nil {
			d = watchDocument{Features: one.digest, Standings: one.features.Standings(), Score: one.score.Standing()}
		}
		d.Watched = one.watched.Clone()
		one.mu.Unlock()
		all[name] = d
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return durable.WriteChecked(w.path, body)
}
