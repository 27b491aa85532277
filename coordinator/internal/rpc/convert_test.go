package rpc

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

func TestToStatus_TakesEverythingOver(t *testing.T) {
	at := time.Date(2026, 3, 9, 10, 14, 33, 0, time.UTC)
	got, err := toStatus(&fedpb.Status{
		Machines: []*fedpb.MachineStatus{
			{Name: "p1", Class: "pump", State: "running", Zone: "D", Score: 2.5, Alarm: true, Job: "g", ModelVersion: 7, At: timestamppb.New(at),
				Reasons: []*fedpb.Contribution{{Feature: "v.rms", Share: 0.9}}, JobVersions: map[string]uint64{"g": 7, "a": 3, "none": 0},
				Drift:    []*fedpb.Drift{{Monitor: "psi", Subject: "v.rms", Kind: "data", Statistic: 0.5, Limit: 0.2, Since: timestamppb.New(at)}},
				Quality:  &fedpb.Quality{TruePositives: 1, FalsePositives: 2, FalseNegatives: 3, Hours: 4},
				Versions: []*fedpb.VersionQuality{{Job: "g", ModelVersion: 7, Quality: &fedpb.Quality{TruePositives: 1, Hours: 2}}, {Job: "nothing said"}}},
			{Name: "p2", Class: "pump", State: "waiting", JobVersions: map[string]uint64{"g": 6}},
		},
		Jobs:                 []*fedpb.JobReadiness{{Job: "g", Digest: "d", Ready: true, Samples: 5, Reason: "r"}},
		ReceivedSamplesTotal: 9, DroppedSamplesTotal: map[string]uint64{"gap": 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Status{
		Machines: []fleet.Machine{
			{Name: "p1", Class: "pump", State: "running", Zone: "D", Score: 2.5, Alarm: true, Job: "g", ModelVersion: 7, At: at,
				Reasons:  []fleet.Contribution{{Feature: "v.rms", Share: 0.9}},
				Drift:    []fleet.Drift{{Monitor: "psi", Subject: "v.rms", Kind: "data", Statistic: 0.5, Limit: 0.2, Since: at}},
				Quality:  &fleet.Quality{TruePositives: 1, FalsePositives: 2, FalseNegatives: 3, Hours: 4},
				Versions: []fleet.VersionQuality{{Job: "g", ModelVersion: 7, Quality: fleet.Quality{TruePositives: 1, Hours: 2}}}},
			{Name: "p2", Class: "pump", State: "waiting", Reasons: []fleet.Contribution{}},
		},
		Jobs:          []Readiness{{"g", "d", true, 5, "r"}},
		Installed:     map[string]map[uint64]bool{"g": {7: true, 6: true}, "a": {3: true}},
		ReceivedTotal: 9, DroppedTotal: map[string]uint64{"gap": 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestConvert_ImpossibleContentIsAnError(t *testing.T) {
	machine := func(change func(*fedpb.MachineStatus)) *fedpb.Status {
		m := &fedpb.MachineStatus{Name: "p1"}
		change(m)
		return &fedpb.Status{Machines: []*fedpb.MachineStatus{m}}
	}
	for name, s := range map[string]*fedpb.Status{
		"score":    machine(func(m *fedpb.MachineStatus) { m.Score = math.Inf(1) }),
		"negative": machine(func(m *fedpb.MachineStatus) { m.Score = -1 }),
		"drift": machine(func(m *fedpb.MachineStatus) {
			m.Drift = []*fedpb.Drift{{Subject: "v.rms", Statistic: math.NaN()}}
		}),
		"hours": machine(func(m *fedpb.MachineStatus) { m.Quality = &fedpb.Quality{Hours: -1} }),
		"version": machine(func(m *fedpb.MachineStatus) {
			m.Versions = []*fedpb.VersionQuality{{Job: "g", Quality: &fedpb.Quality{Hours: math.Inf(1)}}}
		}),
		"zone":     machine(func(m *fedpb.MachineStatus) { m.Zone = "E" }),
		"name":     machine(func(m *fedpb.MachineStatus) { m.Name = "" }),
		"share":    machine(func(m *fedpb.MachineStatus) { m.Reasons = []*fedpb.Contribution{{Share: math.NaN()}} }),
		"machines": {Machines: make([]*fedpb.MachineStatus, maxMachines+1)},
	} {
		if _, err := toStatus(s); err == nil {
			t.Errorf("status with impossible %s was taken", name)
		}
	}
	raised := timestamppb.New(time.Unix(1e9, 0))
	for name, a := range map[string]*fedpb.AlarmEvent{
		"id":     {Machine: "p1", Raised: raised},
		"peak":   {Id: "1", Machine: "p1", Raised: raised, PeakScore: math.NaN()},
		"raised": {Id: "1", Machine: "p1"},
		"year":   {Id: "1", Machine: "p1", Raised: &timestamppb.Timestamp{Seconds: math.MaxInt64}},
	} {
		if _, err := toAlarm(a); err == nil {
			t.Errorf("alarm with impossible %s was taken", name)
		}
	}
	for name, h := range map[string]*fedpb.Hello{
		"twice":    {Machines: []*fedpb.MachineInfo{{Name: "p", Class: "c"}, {Name: "p", Class: "c"}}},
		"no class": {Machines: []*fedpb.MachineInfo{{Name: "p"}}},
		"many":     {Machines: make([]*fedpb.MachineInfo, maxMachines+1)},
		"long":     {Machines: []*fedpb.MachineInfo{{Name: strings.Repeat("x", 129), Class: "c"}}},
	} {
		if _, err := toHello(h); err == nil {
			t.Errorf("hello with machines %s was taken", name)
		}
	}
}

func TestClip_KeepsWholeCharacters(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("ü", 400), strings.Repeat("a", 511) + "€"} {
		got := clip(s)
		if !utf8.ValidString(got) || len(got) > maxText+3 || (len(s) <= maxText && got != s) {
			t.Errorf("clip of %d bytes gives %d bytes", len(s), len(got))
		}
	}
}

// Whatever an agent sends, what is taken over can be shown as JSON (which has no
// NaN and no year 10000) and is bounded.
func FuzzFromAgent(f *testing.F) {
	for _, m := range []*fedpb.FromAgent{
		{Message: &fedpb.FromAgent_Hello{Hello: &fedpb.Hello{Version: "1", Machines: []*fedpb.MachineInfo{{Name: "p", Class: "c"}}}}},
		{Message: &fedpb.FromAgent_Status{Status: &fedpb.Status{Machines: []*fedpb.MachineStatus{{Name: "p", Score: 1, At: timestamppb.New(time.Unix(1, 0))}}}}},
		{Message: &fedpb.FromAgent_Alarm{Alarm: &fedpb.AlarmEvent{Id: "1", Machine: "p", Zone: "C", Raised: timestamppb.New(time.Unix(1, 0))}}},
		{Message: &fedpb.FromAgent_Alarm{Alarm: &fedpb.AlarmEvent{Id: "1", Machine: "p", Raised: &timestamppb.Timestamp{Seconds: 253402300799}}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m fedpb.FromAgent
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		check := func(v any, err error) {
			if err != nil {
				return
			}
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("%+v cannot be shown: %v", v, err)
			}
		}
		hello, err := toHello(m.GetHello())
		check(hello, err)
		st, err := toStatus(m.GetStatus())
		st.Installed = nil // keyed by number, never shown
		check(st, err)
		event, err := toAlarm(m.GetAlarm())
		check(event, err)
	})
}

// The agent drops an update on exactly these reasons; see fedrpc.Refused.
func TestRefusal_WhatIsFinalForAnUpdate(t *testing.T) {
	final := map[Reason]bool{
		TooLarge: true, Unreadable: true, Mismatch: true, WrongShape: true, UnusableNumber: true,
		UnknownJob: true, UnknownRound: true, WrongBase: true, NotInRound: true, Contradiction: true,
		Damaged: false, Busy: false, StoreFailed: false, Stopping: false,
	}
	for reason, want := range final {
		err := Refuse(reason, &fedrpc.SizeError{})
		if got := fedrpc.Refused(err); got != want {
			t.Errorf("%s: final %t, want %t", reason, got, want)
		}
	}
	if got := status.Code(Refuse("never heard of", &fedrpc.SizeError{})); got != codes.Internal {
		t.Errorf("unknown reason has code %v", got)
	}
}
