package mqttsource

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// feed is one channel of one machine on its way out. Its state belongs to Run's
// goroutine.
type feed struct {
	machine, channel string
	config           int // index of the Channel it comes from
	unit             sensors.Unit
	partial          bool
	low, high        float64 // what is possible, in base units

	newest time.Time // start of the newest block
	gap    bool      // samples were refused or may be missing since
	bursts []*burst  // being put together, oldest first
	done   []uint64  // numbers of the newest bursts put together
	said   string    // the last unit a payload said, found right
}

// hugest is the largest magnitude taken, in any base unit. It is beyond anything
// measured, and a window's sums of fourth powers of it still fit a double.
const hugest = 1e30

func newFeed(c *Channel, config int, machine, channel string) *feed {
	f := &feed{
		machine: machine, channel: channel, config: config, unit: c.Unit, low: -hugest, high: hugest,
		partial: c.Decode.Partial || c.Decode.Format == decode.Sparkplug,
	}
	if c.Unit.Quantity == sensors.Temperature {
		f.low = -273.15 - 1e-9 // absolute zero, and the rounding of its conversion
	}
	return f
}

// refuse says why x, in base units, cannot be.
func (f *feed) refuse(x float64) (Reason, error) {
	switch {
	case math.IsInf(x, 0) || math.IsNaN(x):
		return NotFinite, errors.New("value is beyond a double in the base unit; check unit and scale")
	case f.unit.Quantity == sensors.Temperature && x < 0:
		return Implausible, fmt.Errorf("%v °C is below absolute zero; look at the sensor, or correct unit or scale", x)
	}
	return Implausible, fmt.Errorf("%v %s is beyond anything measured; look at the sensor, or correct unit or scale", x, f.unit.Quantity.BaseUnit())
}

// route is where the messages of one topic go.
type route struct {
	feeds   []*feed // by the decoder's specs
	decoder *decode.Decoder
	device  *device
	says    *availability // the topic tells whether devices are there; nothing else is set
	refused error         // why the topic feeds nothing, with its reason
	reason  Reason
	lost    bool // messages were dropped since the last one queued; guarded by inbox.mu
}

// maxRoutes bounds what is remembered of topics seen under wildcards.
const maxRoutes = 4096

// router finds the route of a topic. Routes are kept: looking one up is a map
// access, and its decoder keeps its scratch memory.
type router struct {
	channels []Channel
	patterns []pattern
	devices  *registry
	limit    int // of discovered feeds

	mu         sync.Mutex
	routes     map[string]*route // nil values: no channel
	feeds      map[string]*feed  // by machine/channel
	discovered int
	says       []pattern // availability topics with captures
}

func newRouter(channels []Channel, patterns []pattern, devices *registry, limit int) *router {
	r := &router{
		channels: channels, patterns: patterns, devices: devices, limit: limit,
		routes: map[string]*route{}, feeds: map[string]*feed{},
	}
	for i := range channels {
		c := &channels[i]
		if c.Machine != "" && c.Channel != "" {
			r.feeds[c.name()] = newFeed(c, i, c.Machine, c.Channel)
		}
		for _, a := range c.Availability {
			p, _ := parsePattern(c.own(a)) // checked before
			if p.filter == c.own(a) {
				devices.topic(p.filter)
			} else {
				r.says = append(r.says, p)
			}
		}
	}
	for i := range channels { // topics known beforehand, so that their devices are known too
		parts := slices.Clone(patterns[i].parts)
		if channels[i].Decode.Format == decode.Sparkplug {
			parts[2] = "" // the message type, always +
		}
		if !slices.Contains(parts, "+") && !slices.Contains(parts, "#") {
			r.find(patterns[i].filter)
		}
	}
	return r
}

// find returns the route of topic, nil if no channel wants it.
func (r *router) find(topic string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	rt, known := r.routes[topic]
	if known {
		return rt
	}
	if len(r.routes) >= maxRoutes {
		clear(r.routes) // forgetting costs a decoder and a gap flag, no message
	}
	if plain := canonical(topic); plain != "" && plain != topic {
		// All message types of a Sparkplug device share what its births told.
		if rt, known = r.routes[plain]; !known {
			rt = r.make(plain)
			r.routes[plain] = rt
		}
	} else {
		rt = r.make(topic)
	}
	r.routes[topic] = rt
	return rt
}

// make finds out what a topic feeds. r.mu is held.
func (r *router) make(topic string) *route {
	if r.isAvailability(topic) {
		if a := r.devices.topic(topic); a != nil {
			return &route{says: a}
		}
		return &route{reason: TooMany, refused: errors.New("too many devices say whether they are there; narrow the topic")}
	}
	rt := &route{}
	var specs []decode.Spec
	for i := range r.channels {
		names, ok := r.patterns[i].match(topic)
		if !ok {
			continue
		}
		if r.named(i, names, topic) {
			continue
		}
		f, reason, err := r.feed(i, names)
		if err != nil {
			rt.reason, rt.refused = reason, err
			continue
		}
		c := &r.channels[i]
		rt.feeds, specs = append(rt.feeds, f), append(specs, c.Decode)
		name := c.Topic // not every topic under it: these have no bound
		if c.Device != "" {
			name = c.Device
		}
		name = fillIn(c.own(name), names)
		var topics []string
		for _, a := range c.Availability {
			topics = append(topics, fillIn(c.own(a), names))
		}
		rt.device = r.devices.device(name, sparkplugEdge(topic), f, topics)
	}
	switch {
	case len(specs) > 0:
		rt.decoder, _ = decode.New(specs...) // validated by New
	case rt.refused == nil:
		return nil
	}
	return rt
}

// named reports whether channel i captures a machine from topic that a channel of this
// very name reads the topic of.
func (r *router) named(i int, names map[string]string, topic string) bool {
	c := &r.channels[i]
	if c.Machine != "" {
		return false
	}
	machine := c.machine(names["machine"])
	for j := range r.channels {
		if machine != "" && r.channels[j].Machine == machine {
			if _, ok := r.patterns[j].match(topic); ok {
				return true
			}
		}
	}
	return false
}

func (r *router) isAvailability(topic string) bool {
	r.devices.mu.Lock()
	_, known := r.devices.topics[topic]
	r.devices.mu.Unlock()
	return known || slices.ContainsFunc(r.says, func(p pattern) bool { _, ok := p.match(topic); return ok })
}

// feed returns the feed of channel i under the names a topic captured.
func (r *router) feed(i int, names map[string]string) (*feed, Reason, error) {
	c := &r.channels[i]
	machine, channel := c.Machine, c.Channel
	for _, name := range names {
		if !capturedName.MatchString(name) {
			return nil, NoChannel, fmt.Errorf("topic captures %q, which is no name; use letters, digits, '-', '_' and '.', at most 63", name)
		}
	}
	if machine == "" {
		if machine = c.machine(names["machine"]); machine == "" {
			return nil, NoChannel, fmt.Errorf("topic captures machine %q, which is not in the list of machines; add it there", names["machine"])
		}
	}
	if channel == "" {
		channel = names["channel"]
	}
	key := machine + "/" + channel
	f, known := r.feeds[key]
	switch {
	case known && f.config != i:
		return nil, Conflict, fmt.Errorf("topic captures channel %s, which another topic feeds already; rename one of them", key)
	case known:
		return f, "", nil
	case r.discovered >= r.limit:
		return nil, TooMany, fmt.Errorf("topic captures channel %s, but %d were discovered already; narrow the topic or raise the limit", key, r.limit)
	}
	r.discovered++
	f = newFeed(c, i, machine, channel)
	r.feeds[key] = f
	return f, "", nil
}
