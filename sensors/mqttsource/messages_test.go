package mqttsource

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

func TestSource_UnitsAndTopics(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, []Channel{
		{Machine: "a", Channel: "temperature", Topic: "plant/+/temp", Unit: unit(t, "degF"), Decode: decode.Spec{Format: decode.Scalar}},
		{Machine: "a", Channel: "same", Topic: "plant/a/temp", Shared: true, Unit: unit(t, "1"), Decode: decode.Spec{Format: decode.Scalar}},
		{Machine: "a", Channel: "vibration", Topic: "plant/a/vib", Unit: unit(t, "g"), Decode: decode.Spec{Format: decode.Int16, RateHz: 100, Scale: 0.5}},
	}, Options{})
	r.connected(t)
	publish(t, c, "plant/a/temp", false, []byte("212"))
	b := r.next(t)
	if b.Channel != "temperature" || math.Abs(b.Samples[0]-100) > 1e-9 || b.Quality != sensors.QualityArrivalTime {
		t.Errorf("got %+v; want 212 °F as 100 °C", b)
	}
	if b := r.next(t); b.Channel != "same" || b.Samples[0] != 212 {
		t.Errorf("got %+v; want the same message for the second channel of the topic", b)
	}
	before := time.Now()
	publish(t, c, "plant/a/vib", false, []byte{2, 0, 0xfc, 0xff})
	b = r.next(t)
	// 1 g is 9.80665 m/s² by definition.
	if b.Channel != "vibration" || b.RateHz != 100 || b.Samples[0] != 9.80665 || b.Samples[1] != -2*9.80665 {
		t.Errorf("got %+v; want 1 g and -2 g in m/s²", b)
	}
	// The burst of 20 ms ended when it arrived, so it began 20 ms earlier.
	if ended := b.Start.Add(20 * time.Millisecond); ended.Before(before) || ended.After(time.Now()) {
		t.Errorf("burst of 20 ms starts at %v; want 20 ms before it arrived after %v", b.Start, before)
	}
}

func TestSource_Times(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	ch := Channel{Machine: "m", Channel: "v", Topic: "v", Unit: unit(t, "1"), Decode: decode.Spec{Format: decode.JSON, Path: "v", TimePath: "t"}}
	r := start(t, broker, []Channel{ch}, Options{})
	r.connected(t)
	recorded := time.Date(2020, 3, 9, 10, 14, 33, 0, time.UTC)
	for _, step := range []struct {
		name    string
		time    string
		want    time.Time // zero: when it arrived
		quality sensors.Quality
	}{
		{"recorded years ago", `1583748873`, recorded, 0},
		{"no zone", `"2020-03-09 10:14:34"`, recorded.Add(time.Second), sensors.QualityZoneAssumed},
		{"zero", `0`, time.Time{}, sensors.QualityRebased},
		{"back to the recording", `1583748875`, recorded.Add(2 * time.Second), sensors.QualityGap},
		{"two days ahead", fmt.Sprint(time.Now().Unix() + 2*86400), time.Time{}, sensors.QualityRebased},
		{"unreadable", `"soon"`, time.Time{}, sensors.QualityArrivalTime},
		{"null", `null`, time.Time{}, sensors.QualityArrivalTime},
	} {
		before := time.Now()
		publish(t, c, "v", false, fmt.Appendf(nil, `{"v":1,"t":%s}`, step.time))
		b := r.next(t)
		if b.Quality != step.quality {
			t.Errorf("%s: quality %b; want %b", step.name, b.Quality, step.quality)
		}
		if !step.want.IsZero() && !b.Start.Equal(step.want) || step.want.IsZero() && (b.Start.Before(before) || b.Start.After(time.Now())) {
			t.Errorf("%s: start %v; want %v, or the time of arrival if that is zero", step.name, b.Start, step.want)
		}
	}
	for _, say := range []string{"soon", "set time_format", "local clock"} {
		if !strings.Contains(r.log.String(), say) {
			t.Errorf("log does not say %q:\n%s", say, r.log)
		}
	}
}

func TestSource_Order(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, []Channel{jsonChannel(t, "v", "v", "v", "1")}, Options{})
	r.connected(t)
	for _, at := range []int{100, 101, 100, 101, 102, 20} {
		publish(t, c, "v", false, fmt.Appendf(nil, `{"v":%d,"t":%d}`, at, 1700000000+at))
	}
	var got []string
	for range 5 {
		b := r.next(t)
		got = append(got, fmt.Sprintf("%v/%d", b.Samples[0], b.Quality))
	}
	// 100 after 101 is late by a second; a second 101 is no older; 20 after 102
	// is more than a minute back: the source began anew.
	want := fmt.Sprintf("100/0 101/0 101/0 102/0 20/%d", sensors.QualityGap)
	if strings.Join(got, " ") != want {
		t.Errorf("got %v; want %v", got, want)
	}
	if s := r.Stats(); s.Dropped[Late] != 1 || s.SamplesDropped[Late] != 1 {
		t.Errorf("dropped %v, samples %v; want one late", s.Dropped, s.SamplesDropped)
	}
}

func TestSource_BadPayloads(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, []Channel{
		jsonChannel(t, "a", "doc", "a", "1"),
		jsonChannel(t, "b", "doc", "b", "1"),
		{Machine: "m", Channel: "burst", Topic: "burst", Unit: unit(t, "1"), Decode: decode.Spec{Format: decode.Float32, RateHz: 10}},
		{Machine: "m", Channel: "huge", Topic: "huge", Unit: unit(t, "MPa"), Decode: decode.Spec{Format: decode.Scalar}},
	}, Options{MaxPayloadBytes: 1000})
	r.connected(t)
	nan := binary.LittleEndian.AppendUint32(make([]byte, 8), math.Float32bits(float32(math.NaN())))
	publish(t, c, "doc", false, []byte("not json"))
	publish(t, c, "doc", false, []byte(`{"a":NaN,"b":2}`))
	publish(t, c, "doc", false, []byte(`{"a":3,"b":"off"}`))
	publish(t, c, "doc", false, []byte(`{"other":3}`))
	publish(t, c, "burst", false, nan)
	publish(t, c, "burst", false, make([]byte, 1001))
	publish(t, c, "burst", false, make([]byte, 1000))
	publish(t, c, "huge", false, []byte("1e305"))
	publish(t, c, "doc", false, []byte(`{"a":4}`))

	type got struct {
		channel string
		samples int
		first   float64
		gap     bool
	}
	for i, want := range []got{{"b", 1, 2, true}, {"a", 1, 3, true}, {"burst", 250, 0, true}, {"a", 1, 4, false}} {
		b := r.next(t)
		if g := (got{b.Channel, len(b.Samples), b.Samples[0], b.Quality&sensors.QualityGap != 0}); g != want {
			t.Errorf("block %d: got %+v; want %+v", i, g, want)
		}
	}
	s := r.eventually(t, "all messages settled", func(s Stats) bool { return s.Received == 9 && s.Queued == 0 })
	if s.Emitted != 4 || s.Dropped[Malformed] != 1 || s.Dropped[Absent] != 1 || s.Dropped[NotFinite] != 2 || s.Dropped[TooLarge] != 1 {
		t.Errorf("got %+v", s)
	}
	if s.SamplesDropped[NotFinite] != 1+3+1 || s.SamplesDropped[NotNumber] != 1 || s.SamplesEmitted != 253 {
		t.Errorf("samples: got %+v", s)
	}
	if s.Connections != 1 {
		t.Errorf("%d connections; a bad payload must not cost the connection", s.Connections)
	}
	for _, line := range []string{
		`reason=malformed topic=doc`, `payload is not JSON`, `reason=not_finite topic=doc machine=pump-1 channel=a`,
		`reason=not_number topic=doc machine=pump-1 channel=b`, `reason=absent topic=doc`, `reason=too_large topic=burst`, `over the limit of 1000; send smaller`,
	} {
		if strings.Count(r.log.String(), line) != 1 {
			t.Errorf("log must say %q once:\n%s", line, r.log)
		}
	}
}

// A receiver that stands still for a moment costs nothing: the connection waits,
// and the broker keeps what comes.
func TestSource_QueueFullForAMoment(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := &runner{log: &logBuffer{}, blocks: make(chan sensors.Block, 1000)}
	var err error
	r.Source, err = New(broker, []Channel{jsonChannel(t, "v", "v", "v", "1")}, Options{MaxQueuedMessages: 4, MaxWait: time.Minute}, r.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	free := make(chan struct{})
	r.run(t, func(b sensors.Block) error {
		<-free
		r.blocks <- b
		return nil
	})
	r.connected(t)
	const sent = 200
	for i := range sent {
		publish(t, c, "v", false, fmt.Appendf(nil, `{"v":%d,"t":%d}`, i, 1700000000+i))
	}
	if s := r.eventually(t, "a full queue", func(s Stats) bool { return s.Queued >= 4 }); s.Received > 20 {
		t.Errorf("%d messages received into a queue of 4 and the few under way", s.Received)
	}
	close(free)
	for i := range sent {
		if b := r.next(t); b.Samples[0] != float64(i) || b.Quality != 0 {
			t.Fatalf("block %d: got %+v", i, b)
		}
	}
	s := r.eventually(t, "an empty queue", func(s Stats) bool { return s.Queued == 0 })
	if s.Received != sent || s.Emitted != sent || s.Connections != 1 {
		t.Errorf("got %+v; want all %d emitted over one connection", s, sent)
	}
}

// A receiver that stands still for long costs messages, which are counted, and nothing
// else; the next block says that there is a gap.
func TestSource_QueueFull(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := &runner{log: &logBuffer{}, blocks: make(chan sensors.Block, 1000)}
	var err error
	r.Source, err = New(broker, []Channel{jsonChannel(t, "v", "v", "v", "1")}, Options{MaxQueuedMessages: 4, MaxWait: time.Millisecond}, r.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	free := make(chan struct{})
	r.run(t, func(b sensors.Block) error {
		<-free
		r.blocks <- b
		return nil
	})
	r.connected(t)
	const sent = 40
	for i := range sent {
		publish(t, c, "v", false, fmt.Appendf(nil, `{"v":%d,"t":%d}`, i, 1700000000+i))
	}
	s := r.eventually(t, "all messages", func(s Stats) bool { return s.Received == sent })
	if s.Queued < 4 || s.Queued > 20 || s.Dropped[QueueFull] != sent-s.Queued || s.QueuedBytes == 0 {
		t.Errorf("got %+v; want 4 queued, or a few more that were under way, and the others dropped", s)
	}
	close(free)
	for i := range int(s.Queued) {
		if b := r.next(t); b.Samples[0] != float64(i) || b.Quality != 0 {
			t.Errorf("block %d: got %+v", i, b)
		}
	}
	publish(t, c, "v", false, []byte(`{"v":99,"t":1700000099}`))
	if b := r.next(t); b.Quality != sensors.QualityGap {
		t.Errorf("quality %b after dropped messages; want QualityGap", b.Quality)
	}
	s = r.eventually(t, "an empty queue", func(s Stats) bool { return s.Queued == 0 })
	if s.QueuedBytes != 0 {
		t.Errorf("%d bytes in an empty queue", s.QueuedBytes)
	}
	if !strings.Contains(r.log.String(), "reason=queue_full") {
		t.Errorf("log does not name the full queue:\n%s", r.log)
	}
}

// One machine's broken sensor does not hide another's: each has its line, once.
func TestSource_ComplainsOfEachMachine(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	other := jsonChannel(t, "other", "b", "v", "1")
	other.Machine = "lathe"
	r := start(t, broker, []Channel{jsonChannel(t, "one", "a", "v", "1"), other}, Options{})
	r.connected(t)
	for range 3 {
		publish(t, c, "a", false, []byte("{"))
		publish(t, c, "b", false, []byte("{"))
	}
	r.eventually(t, "all settled", func(s Stats) bool { return s.Dropped[Malformed] == 6 })
	if n := strings.Count(r.log.String(), "reason=malformed"); n != 2 || !strings.Contains(r.log.String(), "machine=lathe") {
		t.Errorf("%d lines, want one for each machine:\n%s", n, r.log)
	}
}
