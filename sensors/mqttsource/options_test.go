package mqttsource

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

func TestNew_Problems(t *testing.T) {
	good := scalarChannel(t)[0]
	with := func(change func(*Channel)) []Channel {
		c := good
		change(&c)
		return []Channel{c}
	}
	for _, c := range []struct {
		name     string
		broker   string
		channels []Channel
		opts     Options
		says     []string
	}{
		{"no broker", "", []Channel{good}, Options{}, []string{"tcp://host:1883"}},
		{"other scheme", "ws://x", []Channel{good}, Options{}, []string{`unknown scheme "ws"`}},
		{"host only", "localhost:1883", []Channel{good}, Options{}, []string{"tcp://host:1883"}},
		{"no channels", "tcp://x", nil, Options{}, []string{"no channels"}},
		{"twice", "tcp://x", []Channel{good, good}, Options{}, []string{"m/v: declared twice"}},
		{"no unit", "tcp://x", with(func(c *Channel) { c.Unit = sensors.Unit{} }), Options{}, []string{"m/v", "has no unit"}},
		{"bad topic and format at once", "tcp://x", with(func(c *Channel) { c.Topic, c.Decode = "a/b+", decode.Spec{Format: "xml"} }), Options{},
			[]string{"a wildcard must be a level", `unknown format "xml"`}},
		{"session without id", "tcp://x", []Channel{good}, Options{PersistentSession: true}, []string{"client id"}},
		{"negative", "tcp://x", []Channel{good}, Options{MaxQueuedBytes: -1}, []string{"MaxQueuedBytes"}},
	} {
		_, err := New(c.broker, c.channels, c.opts, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%s: error does not say %q: %v", c.name, say, err)
			}
		}
	}
}

func TestParseBroker(t *testing.T) {
	for in, want := range map[string]string{
		"tcp://h": "tcp://h:1883", "mqtt://h:1": "tcp://h:1", "ssl://h": "ssl://h:8883", "mqtts://[::1]": "ssl://[::1]:8883", "tls://u@h:5": "ssl://u@h:5",
	} {
		if got, err := ParseBroker(in); err != nil || got.String() != want {
			t.Errorf("ParseBroker(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestTopicMatches(t *testing.T) {
	// Examples of MQTT 3.1.1, sections 4.7.1 and 4.7.2.
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player2", false},
		{"sport/#", "sport", true},
		{"#", "a/b", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
	} {
		if got := topicMatches(c.filter, c.topic); got != c.want {
			t.Errorf("topicMatches(%q, %q) = %v; want %v", c.filter, c.topic, got, c.want)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	var cs []Channel
	var ps []pattern
	for _, topic := range []string{"a/+/v", "a/1/v", "a/2/v", "b/#", "b", "b/c/d", "b/+", "c/1", "c/1", "$SYS/#", "x/+", "+/y"} {
		p, err := parsePattern(topic)
		if err != nil {
			t.Fatal(err)
		}
		cs, ps = append(cs, Channel{Topic: topic}), append(ps, p)
	}
	want := []string{"$SYS/#", "+/y", "a/+/v", "b/#", "c/1", "x/+"}
	if got := subscriptions(cs, ps); !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestComplaints_OncePerMinuteAndCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		c := newComplaints(log.logger())
		for range 90 {
			c.dropped(QueueFull, "a", nil, errQueueFull)
			c.dropped(NoChannel, "b", nil, errNoChannel)
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "reason=queue_full"); n != 2 {
			t.Errorf("%d lines about a full queue in 90 s; want 2", n)
		}
		if !strings.Contains(log.String(), "topic=b cause=\"no channel has this topic; add one. The broker is told that it is not wanted; if an earlier configuration subscribed with a wildcard, change the client id\" more_since_last_line=59") {
			t.Errorf("second line does not count those kept back:\n%s", log)
		}
	})
}

func TestRouter_Bounded(t *testing.T) {
	ch := scalarChannel(t)[0]
	ch.Topic = "plant/+"
	patterns, err := checkChannels([]Channel{ch})
	if err != nil {
		t.Fatal(err)
	}
	r := newRouter([]Channel{ch}, patterns, newRegistry(), 1)
	for i := range 3 * maxRoutes {
		if r.find("plant/"+strings.Repeat("x", i%7)+time.Duration(i).String()) == nil {
			t.Fatal("a topic under the wildcard has no route")
		}
	}
	if len(r.routes) > maxRoutes {
		t.Errorf("%d routes remembered; want at most %d", len(r.routes), maxRoutes)
	}
}
