package infer

import "github.com/millwright-iot/millwright/fedavg/model"

// Diagnose says which fault the global model in use takes the newest scored window
// to show, into f, whose Job it leaves alone. It returns false, and f as it was, while
// there is no such model or it tells no classes apart.
func (d *Detector) Diagnose(f *Fault) bool {
	c, ok := d.model.(model.Classifier)
	if !ok || d.version == 0 {
		return false
	}
	f.Class, f.Probability = c.Classify(d.z)
	f.ModelVersion = d.version
	return true
}
