package mqttsource

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// Channel binds one channel of a machine to what a topic's messages hold, or
// many of them by a topic that captures their names. Several channels may share
// a topic: its payload is parsed once for all.
type Channel struct {
	// Machine and Channel are the names of what is measured. Either may be empty
	// when Topic captures it: then each new name is a discovery, see
	// Options.MaxDiscovered.
	Machine string
	Channel string
	// Topic is a topic or a filter with the wildcards + (one level) and # (the
	// rest); with a filter, every topic that matches feeds the channel. A level may
	// capture a name: plant/{machine}/{channel}/state. {machine} and {channel} stand
	// for Machine and Channel where those are set; {device} is for Device. A topic that
	// a channel with the captured machine's name reads is left to that one.
	//
	// With decode.Sparkplug it is spBv1.0/<group>/+/<edge node>, and /<device>
	// unless the metric is one of the node itself.
	Topic string
	// Machines translates what {machine} captures; what is not in it is refused.
	// Nil: it is the machine's name.
	Machines map[string]string
	// Device names what publishes the topic and has a clock and a last will of its
	// own (see DeviceStats); captures are filled in. Default: Topic, likewise.
	Device string
	// Availability are the topics that say whether the device is there: its last
	// will and birth, or its bridge's. All must agree that it is. Captures of Topic
	// are filled in. Sparkplug devices need none: births and deaths tell.
	Availability []string
	// Unit is what the payload's numbers are in; blocks carry its base unit.
	Unit sensors.Unit
	// Shared permits that another channel reads the very same value, such as the
	// ambient temperature of two machines. Else that is a mistake New reports.
	Shared bool
	// Decode says where in the payload the samples are. The time of a run of
	// samples is that of its first one.
	Decode decode.Spec
}

// name is how the channel is called in messages to people.
func (c *Channel) name() string {
	part := func(name, capture string) string {
		if name == "" {
			return "{" + capture + "}"
		}
		return name
	}
	return part(c.Machine, "machine") + "/" + part(c.Channel, "channel")
}

// own returns the topic with the names that are set filled in.
func (c *Channel) own(topic string) string {
	names := map[string]string{}
	if c.Machine != "" {
		names["machine"] = c.Machine
	}
	if c.Channel != "" {
		names["channel"] = c.Channel
	}
	return fillIn(topic, names)
}

// problems lists what is wrong with one channel.
func (c *Channel) problems() (pattern, []error) {
	var errs []error
	p, err := parsePattern(c.own(c.Topic))
	if err != nil {
		errs = append(errs, err)
	} else {
		if c.Machine == "" && !p.captures("machine") || c.Channel == "" && !p.captures("channel") {
			errs = append(errs, errors.New("machine or channel has no name, and the topic captures none"))
		}
		if c.Decode.Format == decode.Sparkplug {
			errs = append(errs, checkSparkplugTopic(p.filter))
		}
		for _, a := range c.Availability {
			ap, err := parsePattern(c.own(a))
			if err == nil {
				for _, l := range ap.levels {
					if l.capture != "" && !p.captures(l.capture) {
						err = fmt.Errorf("availability topic %q names {%s}, which the topic does not capture", a, l.capture)
					}
				}
				if strings.Count(ap.filter, "+")+strings.Count(ap.filter, "#") > strings.Count(c.own(a), "{") {
					err = fmt.Errorf("availability topic %q has a wildcard; name the device's topic", a)
				}
			}
			errs = append(errs, err)
		}
	}
	if c.Unit.Symbol == "" || c.Unit.Scale == 0 {
		_, err := sensors.ParseUnit("")
		errs = append(errs, err)
	}
	errs = append(errs, c.Decode.Validate())
	return p, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// checkChannels joins every problem of the channels into one error.
func checkChannels(channels []Channel) ([]pattern, error) {
	var errs []error
	if len(channels) == 0 {
		errs = append(errs, errors.New("no channels; name at least one"))
	}
	patterns := make([]pattern, len(channels))
	seen := map[string]bool{}
	for i := range channels {
		c := &channels[i]
		p, problems := c.problems()
		if patterns[i] = p; c.Machine != "" && c.Channel != "" {
			if seen[c.name()] {
				problems = append([]error{errors.New("declared twice")}, problems...)
			}
			seen[c.name()] = true
		}
		for _, err := range problems {
			errs = append(errs, fmt.Errorf("channel %s: %w", c.name(), err))
		}
	}
	if len(errs) == 0 {
		errs = conflicts(channels, patterns)
	}
	return patterns, errors.Join(errs...)
}

// conflicts reports pairs of channels for which one value of one payload would
// be taken, or of which only one can be right about the payload.
func conflicts(channels []Channel, patterns []pattern) []error {
	var errs []error
	for i := range channels {
		for j := range i {
			a, b := &channels[j], &channels[i]
			what := sameValue(&a.Decode, &b.Decode)
			if what == "" || a.Shared || b.Shared || !overlap(&patterns[j], &patterns[i]) ||
				a.yields(&patterns[j], b, &patterns[i]) || b.yields(&patterns[i], a, &patterns[j]) {
				continue
			}
			errs = append(errs, fmt.Errorf("channels %s (topic %q) and %s (topic %q): a topic matches both and %s; correct a topic or path, or say that the value is shared",
				a.name(), a.Topic, b.name(), b.Topic, what))
		}
	}
	return errs
}

// yields reports whether c, which captures machines, leaves the topic of named to it:
// whoever is named outright is named by purpose.
func (c *Channel) yields(p *pattern, named *Channel, its *pattern) bool {
	if c.Machine != "" || named.Machine == "" {
		return false
	}
	names, ok := p.match(its.filter)
	return ok && c.machine(names["machine"]) == named.Machine
}

// machine is the machine that a captured name stands for; empty for none.
func (c *Channel) machine(captured string) string {
	if c.Machines != nil {
		return c.Machines[captured]
	}
	return captured
}

// sameValue says why two channels must not read the same payload, "" if they may.
func sameValue(a, b *decode.Spec) string {
	family := func(s *decode.Spec) decode.Format {
		if s.Format == decode.JSONArray {
			return decode.JSON
		}
		return s.Format
	}
	switch {
	case family(a) != family(b):
		return fmt.Sprintf("no payload is both %s and %s", a.Format, b.Format)
	case a.Hex != b.Hex && a.Path == b.Path: // other bytes of the same
		return ""
	case a.Format == decode.Scalar || a.Format == decode.Int16 || a.Format == decode.Float32:
		return "both read the whole payload"
	case a.Path == b.Path:
		return fmt.Sprintf("both read %q", a.Path)
	}
	return ""
}

// subscriptions lists the filters to subscribe to, sorted and without those
// another one covers: some brokers deliver a message once for each filter.
func subscriptions(channels []Channel, patterns []pattern) []string {
	var all []string
	for i := range channels {
		c := &channels[i]
		if c.Decode.Format == decode.Sparkplug {
			all = append(all, sparkplugFilter(patterns[i].filter))
		} else {
			all = append(all, patterns[i].filter)
		}
		for _, a := range c.Availability {
			p, _ := parsePattern(c.own(a)) // checked before
			all = append(all, p.filter)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return other != f && covers(other, f) })
	})
}
