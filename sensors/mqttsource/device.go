package mqttsource

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// State is what is known of a device.
type State string

// The states of a device.
const (
	Unknown State = "unknown" // nothing was heard of it yet
	Live    State = "live"    // it is there: it was born, said so, or sent samples
	// Stale: its last will, its bridge or its edge node said that it is gone. What
	// its channels showed last is not how things are. The next block of each
	// channel carries sensors.QualityGap.
	Stale State = "stale"
)

// DeviceStats is what is known of one device.
type DeviceStats struct {
	Name     string    // Channel.Device, or Channel.Topic
	Machines []string  // whose channels it feeds, sorted
	State    State     //
	Since    time.Time // of State; zero for Unknown
	LastSeen time.Time // arrival of its newest message with samples, retained ones left out; zero if none
	Births   int64     // Sparkplug births
	// ClockSkew is how far its clock is ahead of the local one, less the quickest
	// way its messages took: the smallest difference of arrival and payload time in
	// the last ten minutes it sent, without the smallest of its ten minutes, which
	// one wrong time may have spoilt. Zero unless ClockSkewKnown: no message had a time.
	ClockSkew      time.Duration
	ClockSkewKnown bool
}

// skewMinutes is the length of the window a clock's skew is estimated over.
const skewMinutes = 10

// skew keeps the smallest delay of each of the last minutes.
type skew struct {
	minutes [skewMinutes]struct {
		minute int64 // 1 + minutes since the registry's start; 0 for none
		least  time.Duration
	}
}

func (s *skew) add(minute int64, delay time.Duration) {
	m := &s.minutes[minute%skewMinutes]
	if m.minute != minute+1 {
		m.minute, m.least = minute+1, delay
		return
	}
	m.least = min(m.least, delay)
}

// estimate returns the second smallest of the minutes, the smallest of fewer than three.
func (s *skew) estimate() (delay time.Duration, ok bool) {
	var newest int64
	for _, m := range s.minutes {
		newest = max(newest, m.minute)
	}
	least := make([]time.Duration, 0, skewMinutes)
	for _, m := range s.minutes {
		if m.minute > 0 && m.minute > newest-skewMinutes {
			least = append(least, m.least)
		}
	}
	slices.Sort(least)
	switch {
	case len(least) == 0:
		return 0, false
	case len(least) < 3:
		return least[0], true
	}
	return least[1], true
}

// device is one publisher. Its fields are guarded by registry.mu.
type device struct {
	DeviceStats
	edge string // group/node of a Sparkplug device
	skew skew
	// feeds are the channels it feeds; only Run's goroutine changes what they hold.
	feeds []*feed
}

// availability is a topic that says whether devices are there.
type availability struct {
	heard, there bool
	devices      []*device
}

// registry knows all devices.
type registry struct {
	started time.Time

	mu      sync.Mutex
	devices map[string]*device
	topics  map[string]*availability
}

func newRegistry() *registry {
	return &registry{started: time.Now(), devices: map[string]*device{}, topics: map[string]*availability{}}
}

// maxDevices bounds the devices and availability topics that captures bring to
// light; what comes beyond is one device called manyDevices, always thought there.
const (
	maxDevices  = 4096
	manyDevices = "(others)"
)

// topic returns what is known of an availability topic, made if needed; nil when
// there are too many.
func (r *registry) topic(topic string) *availability {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.topicLocked(topic)
}

func (r *registry) topicLocked(topic string) *availability {
	a := r.topics[topic]
	if a == nil && len(r.topics) < maxDevices {
		a = &availability{}
		r.topics[topic] = a
	}
	return a
}

// device returns the device called name, made if needed, with another feed.
func (r *registry) device(name, edge string, f *feed, topics []string) *device {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devices[name] == nil && len(r.devices) >= maxDevices {
		name, edge, topics = manyDevices, "", nil
	}
	d := r.devices[name]
	if d == nil {
		d = &device{DeviceStats: DeviceStats{Name: name, State: Unknown}, edge: edge}
		r.devices[name] = d
	}
	if !slices.Contains(d.feeds, f) {
		d.feeds = append(d.feeds, f)
		if i, known := slices.BinarySearch(d.Machines, f.machine); !known {
			d.Machines = slices.Insert(slices.Clone(d.Machines), i, f.machine)
		}
	}
	for _, t := range topics {
		a := r.topicLocked(t)
		if a == nil {
			continue
		}
		if !slices.Contains(a.devices, d) {
			a.devices = append(a.devices, d)
		}
		if a.heard && !a.there && d.State != Stale { // it said so before the device was known
			d.State, d.Since = Stale, time.Now()
		}
	}
	return d
}

// seen notes a message with samples, and how much later than its time it came.
// It reports whether the device was not live before.
func (r *registry) seen(d *device, arrived time.Time, delay time.Duration, timed bool) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.LastSeen = arrived
	if timed {
		d.skew.add(max(0, int64(arrived.Sub(r.started)/time.Minute)), delay)
	}
	if changed = d.State != Live; changed {
		d.State, d.Since = Live, arrived
	}
	return changed
}

// set changes a device's state and reports whether it was another one.
func (r *registry) set(d *device, s State, at time.Time) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if changed = d.State != s; changed {
		d.State, d.Since = s, at
	}
	return changed
}

func (r *registry) born(d *device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Births++
}

// ofEdge lists the devices of a Sparkplug edge node, itself included.
func (r *registry) ofEdge(edge string) []*device {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*device
	for _, d := range r.devices {
		if d.edge == edge {
			list = append(list, d)
		}
	}
	return list
}

// says notes what an availability topic says and returns the devices it is about,
// and whether all topics of each agree that it is there.
func (r *registry) says(a *availability, there bool) (devices []*device, allThere []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.heard, a.there = true, there
	for _, d := range a.devices {
		all := true
		for _, other := range r.topics {
			if other.heard && !other.there && slices.Contains(other.devices, d) {
				all = false
			}
		}
		devices, allThere = append(devices, d), append(allThere, all)
	}
	return devices, allThere
}

func (r *registry) stats(d *device) DeviceStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.snapshot()
}

func (d *device) snapshot() DeviceStats {
	s := d.DeviceStats
	s.Machines = slices.Clone(s.Machines)
	if delay, ok := d.skew.estimate(); ok {
		s.ClockSkew, s.ClockSkewKnown = -delay, true
	}
	return s
}

// Devices lists what is known of each device, sorted by name. It may be called
// at any time.
func (s *Source) Devices() []DeviceStats {
	r := s.devices
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]DeviceStats, 0, len(r.devices))
	for _, d := range r.devices {
		list = append(list, d.snapshot())
	}
	slices.SortFunc(list, func(a, b DeviceStats) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// there reads an availability payload: a word, or a JSON document with the word
// under "state", as Zigbee2MQTT, Tasmota, ESPHome, Shelly and Home Assistant write it.
func there(payload string) (there, ok bool) {
	word := strings.ToLower(strings.TrimSpace(payload))
	if strings.HasPrefix(word, "{") {
		_, rest, _ := strings.Cut(word, `"state"`)
		rest, colon := strings.CutPrefix(strings.TrimSpace(rest), ":")
		rest, quote := strings.CutPrefix(strings.TrimSpace(rest), `"`)
		if !colon || !quote {
			return false, false
		}
		word, _, _ = strings.Cut(rest, `"`)
	}
	switch strings.Trim(word, `"`) {
	case "online", "true", "1", "connected", "available", "alive", "up":
		return true, true
	case "offline", "false", "0", "disconnected", "unavailable", "dead", "down", "lost":
		return false, true
	}
	return false, false
}
