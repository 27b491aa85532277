package rpc

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// Bounds on what an agent may say of itself; far above what any real gateway
// needs, they keep a broken one from filling the coordinator's memory.
const (
	maxMachines = 1024
	maxJobs     = 256
	maxReasons  = 32
	maxDropped  = 64
	maxText     = 512 // bytes
)

func toHello(h *fedpb.Hello) (Hello, error) {
	out := Hello{Version: clip(h.GetVersion())}
	if n := len(h.GetMachines()); n > maxMachines {
		return Hello{}, fmt.Errorf("names %d machines; at most %d fit one gateway", n, maxMachines)
	}
	seen := map[string]bool{}
	for _, m := range h.GetMachines() {
		if err := checkName("machine", m.GetName()); err != nil {
			return Hello{}, err
		}
		if err := checkName("class of machine "+m.GetName(), m.GetClass()); err != nil {
			return Hello{}, err
		}
		if seen[m.GetName()] {
			return Hello{}, fmt.Errorf("names machine %q twice", m.GetName())
		}
		seen[m.GetName()] = true
		out.Machines = append(out.Machines, Machine{m.GetName(), m.GetClass()})
	}
	return out, nil
}

func toStatus(s *fedpb.Status) (Status, error) {
	out := Status{
		ReceivedTotal: s.GetReceivedSamplesTotal(),
		DroppedTotal:  map[string]uint64{},
		Installed:     map[string]map[uint64]bool{},
	}
	if len(s.GetMachines()) > maxMachines || len(s.GetJobs()) > maxJobs || len(s.GetDroppedSamplesTotal()) > maxDropped {
		return Status{}, fmt.Errorf("status has %d machines, %d jobs and %d reasons for dropped samples; at most %d, %d and %d fit",
			len(s.GetMachines()), len(s.GetJobs()), len(s.GetDroppedSamplesTotal()), maxMachines, maxJobs, maxDropped)
	}
	for reason, n := range s.GetDroppedSamplesTotal() {
		out.DroppedTotal[clip(reason)] = n
	}
	for _, m := range s.GetMachines() {
		machine, err := toMachine(m)
		if err != nil {
			return Status{}, err
		}
		out.Machines = append(out.Machines, machine)
		for job, version := range m.GetJobVersions() {
			if len(out.Installed) < maxJobs && version > 0 {
				if out.Installed[job] == nil {
					out.Installed[job] = map[uint64]bool{}
				}
				out.Installed[job][version] = true
			}
		}
	}
	for _, j := range s.GetJobs() {
		out.Jobs = append(out.Jobs, Readiness{
			Job: clip(j.GetJob()), Digest: clip(j.GetDigest()), Ready: j.GetReady(), Samples: j.GetSamples(), Reason: clip(j.GetReason()),
		})
	}
	return out, nil
}

func toMachine(m *fedpb.MachineStatus) (fleet.Machine, error) {
	if err := checkName("machine", m.GetName()); err != nil {
		return fleet.Machine{}, err
	}
	if err := checkZone(m.GetZone()); err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: %w", m.GetName(), err)
	}
	if err := checkScore(m.GetScore()); err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: score %w", m.GetName(), err)
	}
	reasons, err := toReasons(m.GetReasons())
	if err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: %w", m.GetName(), err)
	}
	advice, err := toAdvice(m.GetAdvice())
	if err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: %w", m.GetName(), err)
	}
	drift, err := toDrift(m.GetDrift())
	if err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: %w", m.GetName(), err)
	}
	quality, err := toQuality(m.GetQuality())
	if err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: %w", m.GetName(), err)
	}
	versions, err := toVersions(m.GetVersions())
	if err != nil {
		return fleet.Machine{}, fmt.Errorf("machine %q: %w", m.GetName(), err)
	}
	return fleet.Machine{
		Name: m.GetName(), Class: clip(m.GetClass()), State: clip(m.GetState()), Zone: m.GetZone(), Score: m.GetScore(),
		Alarm: m.GetAlarm(), Reasons: reasons, At: toTime(m.GetAt()), Job: clip(m.GetJob()), ModelVersion: m.GetModelVersion(),
		Advice: advice, Drift: drift, Quality: quality, Versions: versions,
	}, nil
}

func toAlarm(a *fedpb.AlarmEvent) (AlarmEvent, error) {
	if err := checkName("alarm", a.GetId()); err != nil {
		return AlarmEvent{}, err
	}
	fail := func(err error) (AlarmEvent, error) { return AlarmEvent{}, fmt.Errorf("alarm %q: %w", a.GetId(), err) }
	if err := checkName("machine", a.GetMachine()); err != nil {
		return fail(err)
	}
	if err := checkZone(a.GetZone()); err != nil {
		return fail(err)
	}
	if err := checkScore(a.GetPeakScore()); err != nil {
		return fail(fmt.Errorf("peak score %w", err))
	}
	reasons, err := toReasons(a.GetReasons())
	if err != nil {
		return fail(err)
	}
	advice, err := toAdvice(a.GetAdvice())
	if err != nil {
		return fail(err)
	}
	raised := toTime(a.GetRaised())
	if raised.IsZero() {
		return fail(fmt.Errorf("says not when it was raised"))
	}
	return AlarmEvent{Revision: a.GetRevision(), Alarm: fleet.Alarm{
		ID: a.GetId(), Machine: a.GetMachine(), Class: clip(a.GetClass()), Raised: raised, Cleared: toTime(a.GetCleared()),
		Zone: a.GetZone(), Peak: a.GetPeakScore(), Reasons: reasons, Job: clip(a.GetJob()), Version: a.GetModelVersion(),
		Advice: advice, Verdict: clip(a.GetVerdict()),
	}}, nil
}

func toReasons(cs []*fedpb.Contribution) ([]fleet.Contribution, error) {
	out := make([]fleet.Contribution, 0, min(len(cs), maxReasons))
	for _, c := range cs[:min(len(cs), maxReasons)] {
		if math.IsNaN(c.GetShare()) || math.IsInf(c.GetShare(), 0) {
			return nil, fmt.Errorf("share of feature %q is %v", clip(c.GetFeature()), c.GetShare())
		}
		out = append(out, fleet.Contribution{Feature: clip(c.GetFeature()), Share: c.GetShare()})
	}
	return out, nil
}

// toTime returns the zero time for an absent or impossible one.
func toTime(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}

func checkName(what, name string) error {
	if name == "" || len(name) > 128 {
		return fmt.Errorf("%s has a name of %d bytes; 1 to 128 are possible", what, len(name))
	}
	return nil
}

func checkZone(zone string) error {
	switch zone {
	case "", "A", "B", "C", "D":
		return nil
	}
	return fmt.Errorf("zone %.20q is none of A, B, C, D", zone)
}

func checkScore(x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
		return fmt.Errorf("is %v; it must be finite and not negative", x)
	}
	return nil
}

// clip shortens a text meant for people to maxText bytes.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// fromMessage makes the wire's form of m.
func fromMessage(m Message) *fedpb.FromCoordinator {
	switch m := m.(type) {
	case Jobs:
		out := &fedpb.Jobs{}
		for _, j := range m {
			out.Jobs = append(out.Jobs, &fedpb.Job{SpecJson: j.SpecJSON, Digest: j.Digest})
		}
		return &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Jobs{Jobs: out}}
	case RoundStart:
		return &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundStart{RoundStart: &fedpb.RoundStart{
			Job: m.Job, Digest: m.Digest, Round: m.Round, Attempt: m.Attempt, Model: fromBlob(m.Model),
			Deadline: timestamppb.New(m.Deadline), Seed: m.Seed, State: fromBlobIf(m.State), KeepEarlier: m.KeepEarlier,
		}}}
	case RoundEnd:
		return &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundEnd{RoundEnd: &fedpb.RoundEnd{
			Job: m.Job, Round: m.Round, Attempt: m.Attempt, Committed: m.Committed, Reason: m.Reason,
		}}}
	case Release:
		return &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Release{Release: &fedpb.Release{
			Job: m.Job, Digest: m.Digest, Version: m.Version, Model: fromBlob(m.Model),
		}}}
	}
	panic(fmt.Sprintf("rpc: unknown message %T", m)) // Message is sealed
}

// fromBlobIf leaves out a blob that is not there.
func fromBlobIf(b store.Blob) *fedpb.Blob {
	if b == (store.Blob{}) {
		return nil
	}
	return fromBlob(b)
}

func fromBlob(b store.Blob) *fedpb.Blob { return &fedpb.Blob{Sha256: b.SHA256, Size: b.Size} }
