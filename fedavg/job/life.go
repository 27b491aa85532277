package job

import (
	"fmt"
	"slices"

	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// withLifeDefaults fills in what is particular to prognosing: most of an update is
// zero in the rounds before the last stages, and packs to nearly nothing.
func (s *Spec) withLifeDefaults() {
	if s.Model.Kind == model.KindRUL && len(s.Compression) == 0 {
		s.Compression = []string{string(compress.Zstd)}
	}
}

// validateLife judges s.Model.RUL in the light of the features.
func (s Spec) validateLife(ps *problems) {
	r := s.Model.RUL
	if r == nil || s.Model.Kind != model.KindRUL {
		return
	}
	if r.Cycle > 0 && r.Cycle < s.Features.Hop {
		ps.add("model.rul.cycle", "is %v; a cycle must be at least as long as features.hop, %v", r.Cycle, s.Features.Hop)
	}
	names := s.Features.Names()
	known := func(path, name string) {
		if name != "" && !slices.Contains(names, name) {
			ps.add(path, "is %q, which is none of the job's features; write channel.feature of one listed under features.channels", name)
		}
	}
	if r.Operation != nil {
		known("model.rul.operation.feature", r.Operation.Feature)
	}
	for i, setting := range r.Settings {
		known(fmt.Sprintf("model.rul.settings[%d].feature", i), setting.Feature)
	}
	if len(*ps) > 0 {
		return
	}
	if _, err := prognosis.New(*r, names); err != nil {
		ps.add("model.rul", "cannot be used: %v", err)
	}
}
