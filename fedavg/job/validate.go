package job

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// Problem is one reason why a Spec cannot be used.
type Problem = model.Problem

// MaxFeatures bounds a feature vector: a Gaussian update holds (n²+5n)/2 + 2
// numbers, and loading it takes time in proportion to n³.
const MaxFeatures = 512

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// Validate returns everything that is wrong with s once its defaults are filled
// in, in the order of the fields; nil means s can be used. Paths are those of
// the YAML, such as "features.channels[1].features[0]".
func (s Spec) Validate() []Problem {
	s = s.WithDefaults()
	var ps problems
	if !nameRE.MatchString(s.Name) {
		ps.add("name", "is %q; it must be 1 to 63 letters, digits, '-' or '_', beginning with a letter or digit", s.Name)
	}
	if s.Class == "" {
		ps.add("class", "is missing; name the class of the machines that take part")
	}
	if s.Role != Live && s.Role != Shadow {
		ps.add("role", "is %q; it must be %q or %q", s.Role, Live, Shadow)
	}
	s.Features.validate(&ps)
	for _, p := range s.Model.Validate() {
		ps.add("model."+p.Path, "%s", p.Message)
	}
	s.Alarm.validate(&ps, s.Model)
	s.Labels.validate(&ps)
	s.Rounds.validate(&ps)
	s.validateStrategy(&ps)
	s.validateCompression(&ps)
	s.validateLife(&ps)
	s.Quarantine.validate(&ps)
	return ps
}

// Check is Validate as one error that lists every problem, nil if there is none.
func (s Spec) Check() error {
	var errs []error
	for _, p := range s.Validate() {
		errs = append(errs, p)
	}
	if errs == nil {
		return nil
	}
	return fmt.Errorf("check job %q: %w", s.Name, errors.Join(errs...))
}

type problems []Problem

func (ps *problems) add(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (f FeatureSpec) validate(ps *problems) {
	if f.Window <= 0 {
		ps.add("features.window", "is %v; it must be longer than zero, for example 10s", f.Window)
	} else if f.Hop <= 0 || f.Hop > f.Window {
		ps.add("features.hop", "is %v; it must be longer than zero and no longer than the window, %v", f.Hop, f.Window)
	}
	if f.MaxGap < 0 {
		ps.add("features.max_gap", "is %v; it must not be negative", f.MaxGap)
	}
	if len(f.Channels) == 0 {
		ps.add("features.channels", "is empty; list at least one channel with its features")
	}
	channels := map[string]int{}
	for i, c := range f.Channels {
		path := fmt.Sprintf("features.channels[%d]", i)
		if c.Channel == "" {
			ps.add(path+".channel", "is missing; name the channel")
		} else if first, ok := channels[c.Channel]; ok {
			ps.add(path+".channel", "%q is listed already as features.channels[%d]; put its features there", c.Channel, first)
		} else {
			channels[c.Channel] = i
		}
		if len(c.Features) == 0 {
			ps.add(path+".features", "is empty; list at least one feature")
		}
		names := map[string]bool{}
		for j, name := range c.Features {
			switch {
			case name == "":
				ps.add(fmt.Sprintf("%s.features[%d]", path, j), "is empty; name the feature")
			case names[name]:
				ps.add(fmt.Sprintf("%s.features[%d]", path, j), "%q is listed twice", name)
			}
			names[name] = true
		}
	}
	if n := f.Len(); n > MaxFeatures {
		ps.add("features.channels", "hold %d features; the most is %d", n, MaxFeatures)
	}
}

func (r RoundPolicy) validate(ps *problems) {
	if r.Every < 0 {
		ps.add("rounds.every", "is %v; it must not be negative", r.Every)
	}
	if r.MinParticipants < 1 {
		ps.add("rounds.min_participants", "is %d; it must be at least 1", r.MinParticipants)
	}
	if r.Deadline < time.Millisecond {
		ps.add("rounds.deadline", "is %v; it must be at least 1ms, for example 10m", r.Deadline)
	}
	if r.Count < 0 {
		ps.add("rounds.count", "is %d; it must be 0 (no end) or a number of rounds", r.Count)
	}
	if r.Participants < 0 || r.Participants > 0 && r.Participants < r.MinParticipants {
		ps.add("rounds.participants", "is %d; it must be 0 (all) or at least min_participants, %d", r.Participants, r.MinParticipants)
	}
	if !(r.Fraction >= 0 && r.Fraction <= 1) {
		ps.add("rounds.fraction", "is %v; it must be above 0 and at most 1, or left out", r.Fraction)
	} else if r.Fraction > 0 && r.Participants > 0 {
		ps.add("rounds.fraction", "is given beside participants; keep one of them")
	}
	if r.OverSelect != 0 && !(r.OverSelect >= 1 && r.OverSelect <= 10) {
		ps.add("rounds.over_select", "is %v; it must be 1 to 10", r.OverSelect)
	}
	if r.Late != LateDrop && r.Late != LateNext {
		ps.add("rounds.late", "is %q; it must be %q or %q", r.Late, LateDrop, LateNext)
	}
}
