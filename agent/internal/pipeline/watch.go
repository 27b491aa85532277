package pipeline

import (
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Watcher is what a Listener may be too: it sees what becomes of the windows of the live
// job once it has its baseline. What applies to the methods of a Listener applies to
// these.
type Watcher interface {
	// Began is called before the first window: with what identifies the features, their
	// names, and the rows of the baseline, standardised, to keep.
	Began(machine string, spec job.Spec, features string, names []string, baseline [][]float64)
	// Watched is called for each window, with its features standardised by the
	// baseline; healthy says that it may be learned from. All is valid during the call only.
	Watched(machine string, spec job.Spec, out *infer.Output, z []float64, healthy bool)
}

// maxWatched bounds the rows of a baseline that a Watcher is given.
const maxWatched = 2000

// watch tells the watcher what became of a window that ended at end.
func (m *Machine) watch(f *front, end time.Time, healthy bool) {
	t := m.serving
	if m.watcher == nil || t.front != f || t.out.State != infer.Running || !t.out.At.Equal(end) {
		return
	}
	z, ok := t.detector.Standardize(f.standard, f.vector)
	if !ok {
		return
	}
	f.standard = z
	if m.watched != t {
		m.watched = t
		m.watcher.Began(m.cfg.Name, t.spec, f.key.Features, f.extractor.Names(), t.detector.BaselineZ(maxWatched))
	}
	m.watcher.Watched(m.cfg.Name, t.spec, &t.out, z, healthy)
}
