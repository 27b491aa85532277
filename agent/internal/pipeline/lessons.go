package pipeline

import (
	"slices"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/samples"
)

// Lessons counts the feature vectors of each class, in the order of the job's, that the
// machine can learn a diagnosing job from. ok is false while the machine has no
// baseline for the job.
func (m *Machine) Lessons(digest string, truth *labels.Truth) (counts []int, ok bool, err error) {
	t, _ := m.ready(digest)
	if t == nil || t.spec.Model.Softmax == nil {
		return nil, false, nil
	}
	counts = make([]int, len(t.spec.Model.Softmax.Classes))
	err = m.eachLesson(t, truth, func(_ samples.Row, class int) { counts[class]++ })
	return counts, true, err
}

// lessons gathers at most so many vectors with their classes, oldest first. Where there
// are more, classes get equal shares of the places as far as they can fill them, and
// the vectors of a class are taken evenly over time.
func (m *Machine) lessons(t *track, most int, truth *labels.Truth) (rows []samples.Row, classes []int, err error) {
	counts := make([]int, len(t.spec.Model.Softmax.Classes))
	if err := m.eachLesson(t, truth, func(_ samples.Row, class int) { counts[class]++ }); err != nil {
		return nil, nil, err
	}
	places := share(counts, most)
	type lesson struct {
		samples.Row
		class int
	}
	var all []lesson
	met := make([]int, len(counts))
	err = m.eachLesson(t, truth, func(row samples.Row, class int) {
		i, n, k := met[class], counts[class], places[class]
		met[class]++
		if i < n && (i+1)*k/n > i*k/n { // there may be more than were counted
			row.Vector = slices.Clone(row.Vector)
			all = append(all, lesson{row, class})
		}
	})
	slices.SortStableFunc(all, func(a, b lesson) int { return a.At.Compare(b.At) })
	for _, l := range all {
		rows, classes = append(rows, l.Row), append(classes, l.class)
	}
	return rows, classes, err
}

// share gives classes places, at most counts each and most in all.
func share(counts []int, most int) []int {
	places := make([]int, len(counts))
	order := make([]int, len(counts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return counts[a] - counts[b] })
	for i, class := range order { // the fewest first: what they leave, the others get
		places[class] = min(counts[class], most/(len(order)-i))
		most -= places[class]
	}
	return places
}

// eachLesson calls f with every vector whose class is known: by labels, or because it was
// healthy when it was scored and no label speaks against it. The row's vector is f's
// during the call only.
func (m *Machine) eachLesson(t *track, truth *labels.Truth, f func(row samples.Row, class int)) error {
	spec := t.spec.Model.Softmax
	healthy := slices.Index(spec.Classes, spec.Healthy) // −1: that is no class
	length := t.spec.Features.Window
	known := map[int64]bool{} // labelled windows that were observed; some are kept as healthy too
	of := func(row samples.Row, otherwise int) int {
		said, class := truth.Of(row.At.Add(-length), row.At, row.Score >= 1)
		switch said {
		case labels.Nothing:
			return otherwise
		case labels.InOrder:
			return healthy
		case labels.Faulty:
			return slices.Index(spec.Classes, class)
		}
		return -1
	}
	if !truth.Empty() {
		err := m.memory.Each(t.front.key, samples.Observed, func(row samples.Row) bool {
			if class := of(row, -1); class >= 0 {
				known[row.At.UnixNano()] = true
				f(row, class)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	for _, kind := range []samples.Kind{samples.Baseline, samples.Recent} {
		err := m.memory.Each(t.front.key, kind, func(row samples.Row) bool {
			if class := of(row, healthy); class >= 0 && !known[row.At.UnixNano()] {
				f(row, class)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
