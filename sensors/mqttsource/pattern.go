package mqttsource

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// captures are what a level of a topic may name in braces.
var captures = []string{"machine", "channel", "device"}

// capturedName is what a capture may be: it becomes a name that is shown, used in
// topics and file names, and chosen by whoever may publish.
var capturedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// pattern is a topic filter whose levels may capture names:
// plant/{machine}/{channel}/state. Text may stand around a capture in its level.
type pattern struct {
	filter string // with + for each capture
	parts  []string
	levels []level
}

type level struct {
	capture        string // empty for none
	prefix, suffix string
}

// parsePattern reads a topic, see [CheckTopic].
func parsePattern(topic string) (pattern, error) {
	switch {
	case topic == "":
		return pattern{}, errors.New("topic is missing")
	case len(topic) > 65535:
		return pattern{}, errors.New("topic is longer than 65535 bytes")
	case strings.ContainsRune(topic, 0):
		return pattern{}, errors.New("topic contains a zero byte")
	}
	var p pattern
	parts, seen := strings.Split(topic, "/"), []string{}
	for i, l := range parts {
		open, end := strings.IndexByte(l, '{'), strings.IndexByte(l, '}')
		if open < 0 && end < 0 {
			if l != "#" && l != "+" && strings.ContainsAny(l, "#+") {
				return p, fmt.Errorf("topic %q: a wildcard must be a level of its own, as in plant/+/vibration", topic)
			}
			if l == "#" && i < len(parts)-1 {
				return p, fmt.Errorf("topic %q: # must be the last level", topic)
			}
			p.levels = append(p.levels, level{})
			continue
		}
		if open < 0 || end < open || !slices.Contains(captures, l[open+1:end]) || strings.ContainsAny(l[:open]+l[end+1:], "{}+#") {
			return p, fmt.Errorf("topic %q: level %q is no capture; write {machine}, {channel} or {device}, once in a level", topic, l)
		}
		name := l[open+1 : end]
		if slices.Contains(seen, name) {
			return p, fmt.Errorf("topic %q captures {%s} twice; use + for one of them", topic, name)
		}
		seen = append(seen, name)
		p.levels = append(p.levels, level{name, l[:open], l[end+1:]})
		parts[i] = "+"
	}
	p.filter, p.parts = strings.Join(parts, "/"), parts
	return p, nil
}

// captures reports whether name is captured.
func (p *pattern) captures(name string) bool {
	return slices.ContainsFunc(p.levels, func(l level) bool { return l.capture == name })
}

// match reports whether topic falls under p and what it names.
func (p *pattern) match(topic string) (names map[string]string, ok bool) {
	if !topicMatches(p.filter, topic) {
		return nil, false
	}
	rest := topic
	for _, l := range p.levels {
		var text string
		text, rest, _ = strings.Cut(rest, "/")
		if l.capture == "" {
			continue
		}
		text, hasPrefix := strings.CutPrefix(text, l.prefix)
		text, hasSuffix := strings.CutSuffix(text, l.suffix)
		if !hasPrefix || !hasSuffix || text == "" {
			return nil, false
		}
		if names == nil {
			names = map[string]string{}
		}
		names[l.capture] = text
	}
	return names, true
}

// fillIn replaces the captures in text by what they are.
func fillIn(text string, names map[string]string) string {
	for name, is := range names {
		text = strings.ReplaceAll(text, "{"+name+"}", is)
	}
	return text
}

// CheckTopic reports what is wrong with a topic (MQTT 3.1.1, section 4.7): empty,
// too long, a wildcard that does not stand alone in its level, or a capture that
// is not {machine}, {channel} or {device}.
func CheckTopic(topic string) error {
	_, err := parsePattern(topic)
	return err
}

// Filter returns what to subscribe to for a topic that [CheckTopic] finds good: each
// level with a capture is a +.
func Filter(topic string) string {
	p, _ := parsePattern(topic)
	return p.filter
}

// topicMatches reports whether topic falls under filter (MQTT 3.1.1, section
// 4.7): + is one level, # the parent and everything below it, and a leading
// wildcard does not take in topics that begin with $.
func topicMatches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, fRest, fMore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, tRest, tMore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case fMore && tMore:
			filter, topic = fRest, tRest
		case fMore:
			return fRest == "#"
		default:
			return !tMore
		}
	}
}

// covers reports whether every topic under filter b falls under filter a.
func covers(a, b string) bool {
	if strings.HasPrefix(a, "$") != strings.HasPrefix(b, "$") {
		return false
	}
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i, l := range as {
		switch {
		case l == "#":
			return true
		case i >= len(bs) || bs[i] == "#":
			return false
		case l != "+" && l != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}

// overlap reports whether some topic falls under both patterns.
func overlap(a, b *pattern) bool {
	if strings.HasPrefix(a.filter, "$") != strings.HasPrefix(b.filter, "$") {
		return false
	}
	as, bs := a.parts, b.parts
	for i := 0; ; i++ {
		switch {
		case i < len(as) && as[i] == "#", i < len(bs) && bs[i] == "#":
			return true
		case i == len(as) && i == len(bs):
			return true
		case i == len(as):
			return bs[i] == "#"
		case i == len(bs):
			return as[i] == "#"
		case !a.levels[i].overlaps(as[i], b.levels[i], bs[i]):
			return false
		}
	}
}

// overlaps reports whether some text fits both levels, written al and bl.
func (a level) overlaps(al string, b level, bl string) bool {
	fits := func(l level, text string) bool {
		return len(text) > len(l.prefix)+len(l.suffix) && strings.HasPrefix(text, l.prefix) && strings.HasSuffix(text, l.suffix)
	}
	switch {
	case al != "+" && bl != "+":
		return al == bl
	case al != "+":
		return b.capture == "" || fits(b, al)
	case bl != "+":
		return a.capture == "" || fits(a, bl)
	}
	startsAlike := strings.HasPrefix(a.prefix, b.prefix) || strings.HasPrefix(b.prefix, a.prefix)
	endsAlike := strings.HasSuffix(a.suffix, b.suffix) || strings.HasSuffix(b.suffix, a.suffix)
	return startsAlike && endsAlike
}
