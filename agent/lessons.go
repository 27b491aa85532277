package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// leastLessons is how many windows of a class it takes to learn it: of fewer, a
// fifth to calibrate by is none.
const leastLessons = 5

// lessons is what labels and windows have to teach a diagnosing job.
type lessons struct {
	counts []int // windows by class, over all machines
	labels int   // that name a fault, or say that none was there
	astray []string
}

// lessonBook keeps lessons for a while: counting them reads the sample store.
type lessonBook struct {
	mu   sync.Mutex
	kept map[string]keptLessons // by job digest
}

type keptLessons struct {
	lessons
	revision uint64 // of the labels
	at       time.Time
}

// lessonsFor is how long lessons count while labels do not change; windows do come.
const lessonsFor = 10 * time.Second

// truth is what labels say of a machine to a job.
func (a *Agent) truth(m *pipeline.Machine, spec *job.Spec) *labels.Truth {
	return labels.NewTruth(a.labels.Of(m.Name()), spec.Labels)
}

// lessons counts what there is to learn a diagnosing job from.
func (a *Agent) lessons(s *served) lessons {
	b := &a.taught
	b.mu.Lock()
	defer b.mu.Unlock()
	revision := a.labels.Revision()
	if k, ok := b.kept[s.digest]; ok && k.revision == revision && time.Since(k.at) < lessonsFor {
		return k.lessons
	}
	classes := s.spec.Model.Softmax.Classes
	l := lessons{counts: make([]int, len(classes))}
	for _, m := range a.machinesOf(s.spec.Class) {
		for _, label := range a.labels.Of(m.Name()) {
			if label.Kind != labels.Maintenance {
				l.labels++
			}
			if c := label.Class; c != "" && !slices.Contains(classes, c) && !slices.Contains(l.astray, c) {
				l.astray = append(l.astray, c)
			}
		}
		counts, ok, err := m.Lessons(s.digest, a.truth(m, &s.spec))
		if err != nil {
			a.log.Error("windows of a machine cannot be read", "machine", m.Name(), "error", err)
		}
		if ok {
			for i, n := range counts {
				l.counts[i] += n
			}
		}
	}
	if b.kept == nil {
		b.kept = map[string]keptLessons{}
	}
	for digest, k := range b.kept {
		if time.Since(k.at) > time.Hour {
			delete(b.kept, digest) // of a former job
		}
	}
	b.kept[s.digest] = keptLessons{l, revision, time.Now()}
	return l
}

// total counts windows of all classes.
func (l lessons) total() uint64 {
	n := 0
	for _, c := range l.counts {
		n += c
	}
	return uint64(n)
}

// lack says what a diagnosing job needs before it can be learned; empty if nothing. A
// gateway that knows one class only has nothing to tell it from: the model would be sure of
// that class whatever it sees.
func (l lessons) lack(spec *model.SoftmaxSpec) string {
	var known, missing []string
	for i, n := range l.counts {
		switch {
		case n >= leastLessons:
			known = append(known, fmt.Sprintf("%q (%d windows)", spec.Classes[i], n))
		case n > 0:
			missing = append(missing, fmt.Sprintf("%q (%d so far)", spec.Classes[i], n))
		default:
			missing = append(missing, fmt.Sprintf("%q", spec.Classes[i]))
		}
	}
	if len(known) >= 2 {
		return ""
	}
	reason := "no windows are labelled yet"
	switch {
	case l.labels == 0 && len(known) == 1:
		reason = "no labels yet, so all windows are of class " + known[0]
	case len(known) == 1:
		reason = "all windows that labels speak of, or that were healthy, are of class " + known[0]
	case l.labels > 0:
		reason = "labels speak of too few windows that were kept"
	}
	reason += fmt.Sprintf("; a model needs %d windows of another class to tell them from: %s", leastLessons, strings.Join(missing, ", "))
	if len(l.astray) > 0 {
		reason += fmt.Sprintf("; labels name %s, which the job does not know", strings.Join(l.astray, ", "))
	}
	return reason
}

// teach makes sure that sets hold more than one class.
func teach(s *served, sets []model.Set) error {
	if s.spec.Purpose() != job.Diagnose {
		return nil
	}
	l := lessons{counts: make([]int, len(s.spec.Model.Softmax.Classes)), labels: 1}
	for _, set := range sets {
		for _, class := range set.Targets {
			l.counts[int(class)]++
		}
	}
	if lack := l.lack(s.spec.Model.Softmax); lack != "" {
		return errors.New(lack)
	}
	return nil
}
