package mqttsource

import (
	"slices"
	"strings"
	"sync"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// route is where the messages of one topic go.
type route struct {
	channels []int // indices into the Source's channels
	decoder  *decode.Decoder
	lost     bool // messages were dropped since the last one queued; guarded by inbox.mu
}

// maxRoutes bounds what is remembered of topics seen under wildcards.
const maxRoutes = 4096

// router finds the route of a topic. Routes are kept: looking one up is a map
// access, and its decoder keeps its scratch memory.
type router struct {
	channels []Channel

	mu     sync.Mutex
	routes map[string]*route // nil values: no channel
}

func newRouter(channels []Channel) *router {
	return &router{channels: channels, routes: map[string]*route{}}
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
	var specs []decode.Spec
	rt = &route{}
	for i, c := range r.channels {
		if topicMatches(c.Topic, topic) {
			rt.channels = append(rt.channels, i)
			specs = append(specs, c.Decode)
		}
	}
	if len(specs) == 0 {
		rt = nil
	} else {
		rt.decoder, _ = decode.New(specs...) // validated by New
	}
	r.routes[topic] = rt
	return rt
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

// subscriptions lists the filters to subscribe to, sorted and without those
// another one covers: some brokers deliver a message once for each filter.
func subscriptions(channels []Channel) []string {
	var all []string
	for _, c := range channels {
		all = append(all, c.Topic)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return other != f && covers(other, f) })
	})
}
