package pipeline

import "github.com/millwright-iot/millwright/agent/internal/infer"

// History returns what to keep of the live job's scores for the next start; false
// while there is nothing.
func (m *Machine) History() (digest string, h infer.History, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok = m.serving.detector.History()
	return m.serving.digest, h, ok
}

// Remember gives the live job the history that it left earlier. One that another job left
// is ignored.
func (m *Machine) Remember(digest string, h infer.History) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.serving.digest != digest || m.serving.detector.State() != infer.Running {
		return nil
	}
	return m.serving.detector.Remember(h)
}
