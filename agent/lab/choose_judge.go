package lab

import (
	"slices"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// detection follows the machine as its gateway would, from its own baseline on.
func (f *fitter) detection(spec job.Spec, l learned, machine int) (float64, error) {
	m := f.machines[machine]
	d, err := infer.NewDetector(spec)
	if err != nil {
		return 0, err
	}
	if err := d.SetModel(l.global, 1); err != nil {
		return 0, err
	}
	var wrong, of [2]float64 // of windows in order, and faulty
	for i, r := range m.rows {
		out, err := observe(d, r)
		if err != nil {
			return 0, err
		}
		if i < f.from[machine] || out.State != infer.Running {
			continue
		}
		at, faulty := 0, false
		switch said, _ := m.truth.Of(r.end.Add(-spec.Features.Window), r.end, false); said {
		case labels.Faulty:
			at, faulty = 1, true
		case labels.Unclear:
			continue
		}
		of[at]++
		if out.Active != faulty {
			wrong[at]++
		}
	}
	return meanShare(wrong, of)
}

// meanShare is the mean of wrong/of where there is any.
func meanShare(wrong, of [2]float64) (float64, error) {
	sum, n := 0.0, 0.0
	for i := range of {
		if of[i] > 0 {
			sum += wrong[i] / of[i]
			n++
		}
	}
	if n == 0 {
		return 0, choice.ErrSilent
	}
	return sum / n, nil
}

// addClasses takes the windows of which labels say what was true.
func (f *fitter) addClasses(i int, d *infer.Detector) error {
	spec := f.specs[0]
	s := spec.Model.Softmax
	for k, r := range f.machines[i].rows {
		said, class := f.machines[i].truth.Of(r.end.Add(-spec.Features.Window), r.end, false)
		if said == labels.InOrder {
			class = s.Healthy
		}
		at := slices.Index(s.Classes, class)
		if said != labels.InOrder && said != labels.Faulty || at < 0 {
			continue
		}
		f.add(i, d, k, float64(at))
	}
	return nil
}

// add standardises row k of machine i by the machine's own baseline; one that is not usable is left
// out, as on the gateway.
func (f *fitter) add(i int, d *infer.Detector, k int, truth float64) {
	row, ok := d.Standardize(nil, f.machines[i].rows[k].vector)
	if !ok {
		return
	}
	if k >= f.from[i] {
		f.z[i] = append(f.z[i], z{row, truth})
	}
	if f.sets[i] == nil {
		f.sets[i] = []model.Set{{Machine: f.machines[i].name}}
	}
	s := &f.sets[i][0]
	s.Rows, s.Targets = append(s.Rows, row), append(s.Targets, truth)
}

func (f *fitter) diagnosis(_ job.Spec, l learned, machine int) (float64, error) {
	c := l.model.(model.Classifier)
	wrong := 0.0
	for _, r := range f.z[machine] {
		if class, _ := c.Classify(r.row); class != c.Classes()[int(r.truth)] {
			wrong++
		}
	}
	if len(f.z[machine]) == 0 {
		return 0, choice.ErrSilent
	}
	return wrong / float64(len(f.z[machine])), nil
}
