package sparkplug

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tahu is the part of Eclipse Tahu's sparkplug_b.proto that an edge node without
// templates and data sets uses, as a descriptor. Payloads are decoded by
// protobuf's own parser, which knows nothing of our encoder.
const tahu = `
name: "sparkplug_b.proto" package: "org.eclipse.tahu.protobuf" syntax: "proto2"
message_type {
  name: "Payload"
  field { name: "timestamp" number: 1 label: LABEL_OPTIONAL type: TYPE_UINT64 }
  field { name: "metrics" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".org.eclipse.tahu.protobuf.Payload.Metric" }
  field { name: "seq" number: 3 label: LABEL_OPTIONAL type: TYPE_UINT64 }
  field { name: "uuid" number: 4 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "body" number: 5 label: LABEL_OPTIONAL type: TYPE_BYTES }
  nested_type {
    name: "Metric"
    field { name: "name" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "alias" number: 2 label: LABEL_OPTIONAL type: TYPE_UINT64 }
    field { name: "timestamp" number: 3 label: LABEL_OPTIONAL type: TYPE_UINT64 }
    field { name: "datatype" number: 4 label: LABEL_OPTIONAL type: TYPE_UINT32 }
    field { name: "is_historical" number: 5 label: LABEL_OPTIONAL type: TYPE_BOOL }
    field { name: "is_transient" number: 6 label: LABEL_OPTIONAL type: TYPE_BOOL }
    field { name: "is_null" number: 7 label: LABEL_OPTIONAL type: TYPE_BOOL }
    field { name: "properties" number: 9 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".org.eclipse.tahu.protobuf.Payload.PropertySet" }
    field { name: "int_value" number: 10 label: LABEL_OPTIONAL type: TYPE_UINT32 oneof_index: 0 }
    field { name: "long_value" number: 11 label: LABEL_OPTIONAL type: TYPE_UINT64 oneof_index: 0 }
    field { name: "float_value" number: 12 label: LABEL_OPTIONAL type: TYPE_FLOAT oneof_index: 0 }
    field { name: "double_value" number: 13 label: LABEL_OPTIONAL type: TYPE_DOUBLE oneof_index: 0 }
    field { name: "boolean_value" number: 14 label: LABEL_OPTIONAL type: TYPE_BOOL oneof_index: 0 }
    field { name: "string_value" number: 15 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
    oneof_decl { name: "value" }
  }
  nested_type {
    name: "PropertySet"
    field { name: "keys" number: 1 label: LABEL_REPEATED type: TYPE_STRING }
    field { name: "values" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".org.eclipse.tahu.protobuf.Payload.PropertyValue" }
  }
  nested_type {
    name: "PropertyValue"
    field { name: "type" number: 1 label: LABEL_OPTIONAL type: TYPE_UINT32 }
    field { name: "is_null" number: 2 label: LABEL_OPTIONAL type: TYPE_BOOL }
    field { name: "string_value" number: 8 label: LABEL_OPTIONAL type: TYPE_STRING }
  }
}`

func payloadType(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	var f descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal([]byte(tahu), &f); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(&f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("Payload")
}

// decoded is a payload as protobuf reads it. seq is -1 if there is none.
type decoded struct {
	topic   string
	seq     int
	millis  uint64
	metrics map[string]string // "type value", or "type null"
}

func decode(t testing.TB, line string) decoded {
	t.Helper()
	topic, text, _ := strings.Cut(line, " ")
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	desc := payloadType(t)
	msg := dynamicpb.NewMessage(desc)
	if err := proto.Unmarshal(raw, msg); err != nil {
		t.Fatalf("payload of %s is no protobuf: %v", topic, err)
	}
	if len(msg.GetUnknown()) > 0 {
		t.Errorf("payload of %s has unknown fields", topic)
	}
	field := func(m protoreflect.Message, name string) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name)))
	}
	d := decoded{topic: topic, seq: -1, millis: field(msg, "timestamp").Uint(), metrics: map[string]string{}}
	if msg.Has(desc.Fields().ByName("seq")) {
		d.seq = int(field(msg, "seq").Uint())
	}
	list := field(msg, "metrics").List()
	for i := range list.Len() {
		m := list.Get(i).Message()
		value := "null"
		if which := m.WhichOneof(m.Descriptor().Oneofs().ByName("value")); which != nil {
			value = fmt.Sprintf("%s:%v", which.Name(), m.Get(which).Interface())
		} else if !field(m, "is_null").Bool() {
			t.Errorf("metric %v has neither value nor is_null", field(m, "name"))
		}
		if field(m, "timestamp").Uint() == 0 {
			t.Errorf("metric %v has no timestamp", field(m, "name"))
		}
		if m.Has(m.Descriptor().Fields().ByName("properties")) {
			set := field(m, "properties").Message()
			property := field(set, "values").List().Get(0).Message()
			value += fmt.Sprintf(" %v=%d:%v", field(set, "keys").List().Get(0), field(property, "type").Uint(), field(property, "string_value"))
		}
		d.metrics[field(m, "name").String()] = fmt.Sprintf("%d %s", field(m, "datatype").Uint(), value)
	}
	return d
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

func runNode(t testing.TB, broker, dir string) (n *Node, stop func()) {
	t.Helper()
	return runNodeFor(t, broker, dir, "")
}

func runNodeFor(t testing.TB, broker, dir, host string) (n *Node, stop func()) {
	t.Helper()
	n = New(Options{
		Link: link.Options{
			Broker: &url.URL{Scheme: "tcp", Host: broker}, ClientID: "gw1-sparkplug",
			MinWait: 10 * time.Millisecond, MaxWait: 50 * time.Millisecond,
		},
		Group: "hall", Node: "gw1", Version: "1.0", SeqPath: filepath.Join(dir, "births"), PrimaryHost: host,
	}, []Machine{{"pump-1", "pump"}}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return n, stop
}

func TestNode_LifeAsAHostSeesIt(t *testing.T) {
	m := brokertest.Start(t)
	sub := m.Subscribe("%t %x", "spBv1.0/#")
	heard := func(i int) decoded {
		t.Helper()
		eventually(t, fmt.Sprintf("message %d", i), func() bool { return len(sub.Lines()) > i })
		return decode(t, sub.Lines()[i])
	}
	dir := t.TempDir()
	n, stop := runNode(t, m.Address(), dir)

	birth := heard(0)
	if birth.topic != "spBv1.0/hall/NBIRTH/gw1" || birth.seq != 0 {
		t.Errorf("birth is %+v", birth)
	}
	for name, want := range map[string]string{
		"bdSeq": "4 long_value:0", "Node Control/Rebirth": "11 boolean_value:false",
		"Properties/Software": "12 string_value:millwright-agent 1.0",
		"pump-1/Class":        "12 string_value:pump", "pump-1/State": "12 string_value:waiting",
		"pump-1/Score": "10 null engUnit=12:1", "pump-1/Zone": "12 null", "pump-1/Alarm": "11 boolean_value:false",
		"pump-1/Reason": "12 null", "pump-1/Job": "12 null", "pump-1/Model Version": "4 long_value:0",
	} {
		if birth.metrics[name] != want {
			t.Errorf("birth has %s = %q, want %q", name, birth.metrics[name], want)
		}
	}

	at := time.UnixMilli(1767225600123)
	out := infer.Output{At: at, State: infer.Running, Score: 1.25, Zone: "C", Active: true, Version: 3, Reasons: []infer.Reason{{Feature: "vib.rms"}}}
	n.Score("pump-1", "pumps", &out)
	data := heard(1)
	if data.topic != "spBv1.0/hall/NDATA/gw1" || data.seq != 1 {
		t.Errorf("data is %+v", data)
	}
	want := map[string]string{
		"pump-1/State": "12 string_value:running", "pump-1/Score": "10 double_value:1.25", "pump-1/Zone": "12 string_value:C",
		"pump-1/Alarm": "11 boolean_value:true", "pump-1/Reason": "12 string_value:vib.rms", "pump-1/Job": "12 string_value:pumps",
		"pump-1/Model Version": "4 long_value:3",
	}
	if fmt.Sprint(data.metrics) != fmt.Sprint(want) {
		t.Errorf("data is %v, want %v", data.metrics, want)
	}

	// By exception: only what changed. The sequence number wraps after 255.
	for i := 2; i <= 257; i++ {
		out.Score = float64(i)
		n.Score("pump-1", "pumps", &out)
		if d := heard(i); d.seq != i%256 || len(d.metrics) != 1 || d.metrics["pump-1/Score"] != fmt.Sprintf("10 double_value:%d", i) {
			t.Fatalf("data %d is %+v", i, d)
		}
	}

	// A host that missed the birth asks for it.
	host, err := link.Dial(t.Context(), link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	command := appendPayload(nil, time.Now(), noSeq, []metric{{name: rebirth, at: time.Now(), value: true}})
	if err := host.Send(t.Context(), link.Message{Topic: "spBv1.0/hall/NCMD/gw1", Payload: command}); err != nil {
		t.Fatal(err)
	}
	again := heard(259) // 258 is the command itself
	if again.topic != birth.topic || again.seq != 0 || again.metrics["bdSeq"] != "4 long_value:0" || again.metrics["pump-1/Score"] != "10 double_value:257 engUnit=12:1" {
		t.Errorf("the birth that was asked for is %+v", again)
	}

	stop()
	death := heard(260)
	if death.topic != "spBv1.0/hall/NDEATH/gw1" || death.seq != -1 || fmt.Sprint(death.metrics) != "map[bdSeq:4 long_value:0]" {
		t.Errorf("death is %+v", death)
	}
	// The next life has the next number.
	runNode(t, m.Address(), dir)
	if next := heard(261); next.metrics["bdSeq"] != "4 long_value:1" {
		t.Errorf("the birth after a restart is %+v", next)
	}
}

// What the broker publishes when a connection breaks bears the number of its birth.
func TestNode_DeathByBrokenConnection(t *testing.T) {
	m := brokertest.Start(t)
	sub := m.Subscribe("%t %x", "spBv1.0/#")
	n, _ := runNode(t, m.Address(), t.TempDir())
	eventually(t, "birth", func() bool { return len(sub.Lines()) == 1 })
	// A second client of the same name makes the broker cut the first off.
	thief, err := link.Dial(t.Context(), link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}, ClientID: "gw1-sparkplug"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	eventually(t, "death and the next birth", func() bool { return len(sub.Lines()) >= 3 })
	death, birth := decode(t, sub.Lines()[1]), decode(t, sub.Lines()[2])
	if death.topic != "spBv1.0/hall/NDEATH/gw1" || death.metrics["bdSeq"] != "4 long_value:0" {
		t.Errorf("death is %+v", death)
	}
	if birth.topic != "spBv1.0/hall/NBIRTH/gw1" || birth.metrics["bdSeq"] != "4 long_value:1" {
		t.Errorf("birth after it is %+v", birth)
	}
	eventually(t, "second birth counted", func() bool { return n.Stats().Births == 2 })
}

// Without its primary host the node is silent: it waits for it, dies with it and is born
// again with it. What the host's will said of an earlier connection is no news.
func TestNode_FollowsItsPrimaryHost(t *testing.T) {
	m := brokertest.Start(t)
	sub := m.Subscribe("%t %x", "spBv1.0/hall/#")
	host, err := link.Dial(t.Context(), link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	says := func(online bool, at int) {
		t.Helper()
		state := fmt.Sprintf(`{"online":%v,"timestamp":%d}`, online, at)
		if err := host.Send(t.Context(), link.Message{Topic: "spBv1.0/STATE/scada", Payload: []byte(state), QoS: 1, Retain: true}); err != nil {
			t.Fatal(err)
		}
	}
	topics := func() string {
		var all []string
		for _, line := range sub.Lines() {
			d := decode(t, line)
			all = append(all, strings.Split(d.topic, "/")[2]+" "+strings.TrimPrefix(d.metrics["bdSeq"], "4 long_value:"))
		}
		return strings.Join(all, ", ")
	}
	says(false, 1000)
	n, stop := runNodeFor(t, m.Address(), t.TempDir(), "scada")
	out := infer.Output{At: time.Unix(1, 0), State: infer.Running, Score: 1, Zone: "C"}
	n.Score("pump-1", "pumps", &out)
	says(true, 2000)
	eventually(t, "birth", func() bool { return topics() == "NBIRTH 0" || topics() == "NBIRTH 0, NDATA " })
	eventually(t, "connected", func() bool { return n.Stats().Connected })
	says(false, 1500) // of an earlier connection
	n.Score("pump-1", "pumps", &out)
	says(false, 3000)
	eventually(t, "death", func() bool { return strings.HasSuffix(topics(), "NDEATH 0") })
	says(true, 4000)
	eventually(t, "another birth", func() bool { return strings.Contains(topics(), "NDEATH 0, NBIRTH ") })
	if got := topics(); strings.Count(got, "NDEATH") != 1 {
		t.Errorf("heard %s", got)
	}
	for _, bad := range []string{"", "OFFLINE", "[]", `{"timestamp":9000}`, `{"online":"no","timestamp":9000}`} {
		n.hostSays([]byte(bad))
	}
	if !n.welcome() {
		t.Error("what is no state turned the node away")
	}
	stop()
}

func FuzzAsksRebirth(f *testing.F) {
	yes := appendPayload(nil, time.Unix(1, 0), 3, []metric{{name: rebirth, at: time.Unix(1, 0), value: true}})
	f.Add(yes)
	f.Add(appendPayload(nil, time.Unix(1, 0), 3, []metric{{name: rebirth, at: time.Unix(1, 0), value: false}}))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if asksRebirth(payload) && !strings.Contains(string(payload), rebirth) {
			t.Error("asks for a rebirth without naming it")
		}
	})
	if !asksRebirth(yes) {
		f.Error("a command to be born again is not understood")
	}
}
