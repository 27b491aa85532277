package mqttsource

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

func patternOf(t testing.TB, topic string) *pattern {
	t.Helper()
	p, err := parsePattern(topic)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func TestPattern_Match(t *testing.T) {
	for _, c := range []struct{ topic, message, want string }{
		{"plant/{machine}/{channel}/state", "plant/pump-1/vib/state", "map[channel:vib machine:pump-1]"},
		{"plant/{machine}/{channel}/state", "plant/pump-1/vib/set", "no"},
		{"plant/{machine}/{channel}/state", "plant/pump-1/vib", "no"},
		{"shelly-{device}/events/rpc", "shelly-ab12/events/rpc", "map[device:ab12]"},
		{"shelly-{device}/events/rpc", "other/events/rpc", "no"},
		{"shelly-{device}/events/rpc", "shelly-/events/rpc", "no"},
		{"a/{machine}_x/#", "a/p_x/b/c", "map[machine:p]"},
		{"a/+/{channel}", "a/1/c", "map[channel:c]"},
		{"a/b", "a/b", "map[]"},
	} {
		names, ok := patternOf(t, c.topic).match(c.message)
		if got := fmt.Sprint(names); ok && got != c.want || !ok && c.want != "no" {
			t.Errorf("%q matched with %q: %v, %v; want %s", c.message, c.topic, names, ok, c.want)
		}
	}
	for _, bad := range []string{"a/{pump}/b", "a/{machine}/{machine}", "a/{machine", "a/}machine{", "a/{machine}{channel}", "a/{machine}+"} {
		if CheckTopic(bad) == nil {
			t.Errorf("%q is no topic, and no error says so", bad)
		}
	}
}

func TestPattern_Overlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/+", "a/c", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true},
		{"a/+/c", "+/b/c", true}, {"a/+/c", "+/b/d", false}, {"a/{machine}-x", "a/p-x", true}, {"a/{machine}-x", "a/p-y", false},
		{"a/{machine}-x", "a/q-{channel}", true}, {"a/{machine}-x", "a/{machine}-y", false}, {"$a/#", "#", false}, {"a", "a/b", false},
	} {
		for _, swap := range []bool{false, true} {
			a, b := patternOf(t, c.a), patternOf(t, c.b)
			if swap {
				a, b = b, a
			}
			if got := overlap(a, b); got != c.want {
				t.Errorf("overlap(%q, %q) = %v; want %v", a.filter, b.filter, got, c.want)
			}
		}
	}
}

func TestNew_Conflicts(t *testing.T) {
	scalar := decode.Spec{Format: decode.Scalar}
	field := func(path string) decode.Spec { return decode.Spec{Format: decode.JSON, Path: path} }
	ch := func(name, topic string, s decode.Spec) Channel {
		return Channel{Machine: "m", Channel: name, Topic: topic, Unit: unit(t, "1"), Decode: s}
	}
	shared := ch("b", "a/b", scalar)
	shared.Shared = true
	discovered := Channel{Topic: "plant/{machine}/{channel}", Unit: unit(t, "1"), Decode: scalar}
	for _, c := range []struct {
		name     string
		channels []Channel
		says     string // empty: no conflict
	}{
		{"same topic, whole payload", []Channel{ch("a", "t", scalar), ch("b", "t", scalar)}, "both read the whole payload"},
		{"same topic, other fields", []Channel{ch("a", "t", field("x")), ch("b", "t", field("y"))}, ""},
		{"same topic and field", []Channel{ch("a", "t", field("x")), ch("b", "t", field("x"))}, `both read "x"`},
		{"wildcard over it", []Channel{ch("a", "a/+", scalar), ch("b", "a/b", scalar)}, `channels m/a (topic "a/+") and m/b (topic "a/b")`},
		{"shared on purpose", []Channel{ch("a", "a/+", scalar), shared}, ""},
		{"two formats", []Channel{ch("a", "t", scalar), ch("b", "t", field("x"))}, "no payload is both scalar and json"},
		{"capture over another's", []Channel{discovered, ch("a", "plant/n/vib", scalar)}, "{machine}/{channel}"},
		{"capture over it, but named so", []Channel{
			{Channel: "vib", Topic: "plant/{machine}/vib", Unit: unit(t, "1"), Decode: scalar}, ch("other", "plant/m/vib", scalar),
		}, ""},
		{"apart", []Channel{discovered, ch("a", "plant/m/vib/x", scalar)}, ""},
	} {
		_, err := New("tcp://x", c.channels, Options{}, slog.New(slog.DiscardHandler))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v; want %q", c.name, err, c.says)
		}
	}
}

func TestSource_Discovery(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, []Channel{
		{Topic: "plant/{machine}/{channel}/state", Device: "node-{machine}", Availability: []string{"plant/{machine}/LWT"},
			Unit: unit(t, "degC"), Decode: decode.Spec{Format: decode.Scalar}},
		{Channel: "load", Topic: "id/{machine}", Machines: map[string]string{"0x1": "lathe"}, Unit: unit(t, "%"), Decode: decode.Spec{Format: decode.Scalar}},
		{Machine: "press", Channel: "temp", Topic: "{machine}/own", Unit: unit(t, "degC"), Decode: decode.Spec{Format: decode.Scalar}},
	}, Options{MaxDiscovered: 4})
	r.connected(t)
	publish(t, c, "plant/late/LWT", false, []byte("Offline")) // before anything else is heard of it
	for _, m := range []struct{ topic, payload string }{
		{"plant/pump-1/temp/state", "1"}, {"plant/pump-1/oil/state", "2"}, {"plant/pump-2/temp/state", "3"},
		{"plant/../temp/state", "4"},       // no name
		{"plant/press/temp/state", "5"},    // a name that another topic has
		{"id/0x1", "50"}, {"id/0x2", "60"}, // known, and not
		{"plant/pump-3/temp/state", "7"}, // one too many
		{"press/own", "8"},
	} {
		publish(t, c, m.topic, false, []byte(m.payload))
	}
	var got []string
	for range 5 {
		b := r.next(t)
		got = append(got, fmt.Sprintf("%s/%s=%v", b.Machine, b.Channel, b.Samples[0]))
	}
	if want := []string{"pump-1/temp=1", "pump-1/oil=2", "pump-2/temp=3", "lathe/load=0.5", "press/temp=8"}; !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
	s := r.eventually(t, "all settled", func(s Stats) bool { return s.Received == 10 && s.Queued == 0 })
	if s.Dropped[NoChannel] != 2 || s.Dropped[Conflict] != 1 || s.Dropped[TooMany] != 1 || s.Noted != 1 {
		t.Errorf("got %+v", s)
	}
	// The will turns one machine stale, both of its channels, and no other.
	publish(t, c, "plant/pump-1/LWT", false, []byte("Offline"))
	r.eventually(t, "a stale device", func(Stats) bool {
		d := r.Devices()
		i := slices.IndexFunc(d, func(d DeviceStats) bool { return d.Name == "node-pump-1" })
		j := slices.IndexFunc(d, func(d DeviceStats) bool { return d.Name == "node-pump-2" })
		return d[i].State == Stale && slices.Equal(d[i].Machines, []string{"pump-1"}) && d[j].State == Live
	})
	publish(t, c, "plant/pump-1/temp/state", false, []byte("9"))
	if b := r.next(t); b.Quality&sensors.QualityGap == 0 {
		t.Errorf("quality %d after the device was away; want QualityGap", b.Quality)
	}
	r.eventually(t, "the device back", func(Stats) bool {
		return slices.ContainsFunc(r.Devices(), func(d DeviceStats) bool { return d.Name == "node-pump-1" && d.State == Live && !d.ClockSkewKnown })
	})
}
