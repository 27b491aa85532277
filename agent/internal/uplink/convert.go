package uplink

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// fromAgent wraps a message for the session.
func fromAgent(m any) *fedpb.FromAgent {
	switch m := m.(type) {
	case *fedpb.Hello:
		return &fedpb.FromAgent{Message: &fedpb.FromAgent_Hello{Hello: m}}
	case *fedpb.Status:
		return &fedpb.FromAgent{Message: &fedpb.FromAgent_Status{Status: m}}
	case *fedpb.AlarmEvent:
		return &fedpb.FromAgent{Message: &fedpb.FromAgent_Alarm{Alarm: m}}
	case *fedpb.RoundAnswer:
		return &fedpb.FromAgent{Message: &fedpb.FromAgent_RoundAnswer{RoundAnswer: m}}
	}
	panic(fmt.Sprintf("uplink: %T is no message of an agent", m))
}

func helloOf(version string, machines []Machine) *fedpb.Hello {
	h := &fedpb.Hello{Version: version}
	for _, m := range machines {
		h.Machines = append(h.Machines, &fedpb.MachineInfo{Name: m.Name, Class: m.Class})
	}
	return h
}

func statusOf(s Status) *fedpb.Status {
	out := &fedpb.Status{ReceivedSamplesTotal: s.ReceivedSamples, DroppedSamplesTotal: map[string]uint64{}}
	for reason, n := range s.DroppedSamples {
		out.DroppedSamplesTotal[clean(reason)] = n
	}
	for _, m := range s.Machines {
		out.Machines = append(out.Machines, &fedpb.MachineStatus{
			Name: m.Name, Class: m.Class, State: m.State, Zone: m.Zone, Score: m.Score, Alarm: m.Alarm,
			Reasons: reasonsOf(m.Reasons), At: timeOf(m.At), Job: m.Job, ModelVersion: m.ModelVersion, JobVersions: m.JobVersions,
			Advice: adviceOf(m.Advice), Drift: driftOf(m.Drift), Quality: qualityOf(m.Quality), Versions: versionsOf(m.Versions),
		})
	}
	for _, j := range s.Jobs {
		out.Jobs = append(out.Jobs, &fedpb.JobReadiness{
			Job: j.Job, Digest: j.Digest, Ready: j.Ready, Samples: j.Samples, Reason: clean(j.Reason),
		})
	}
	return out
}

func alarmOf(e AlarmEvent) *fedpb.AlarmEvent {
	return &fedpb.AlarmEvent{
		Id: e.ID, Revision: e.Revision, Machine: e.Machine, Class: e.Class, Zone: e.Zone, PeakScore: e.PeakScore,
		Raised: timeOf(e.Raised), Cleared: timeOf(e.Cleared), Reasons: reasonsOf(e.Reasons), Job: e.Job, ModelVersion: e.ModelVersion,
		Advice: adviceOf(e.Advice), Verdict: e.Verdict,
	}
}

func adviceOf(a infer.Advice) *fedpb.Advice {
	if a == (infer.Advice{}) {
		return nil
	}
	out := &fedpb.Advice{}
	if e := a.Evidence; e != nil {
		out.Evidence = &fedpb.Evidence{Channel: e.Channel, Part: e.Part, OuterRaceDb: e.OuterRaceDB, InnerRaceDb: e.InnerRaceDB, BallDb: e.BallDB}
	}
	if f := a.Fault; f != nil {
		out.Fault = &fedpb.Fault{Class: f.Class, Probability: f.Probability, Job: f.Job, ModelVersion: f.ModelVersion}
	}
	if l := a.Life; l != nil {
		out.Life = &fedpb.Life{
			Hours: l.Hours, LowHours: l.Low, HighHours: l.High, Confidence: l.Confidence, AtLeast: l.AtLeast,
			At: timeOf(l.At), Job: l.Job, ModelVersion: l.ModelVersion,
		}
	}
	if t := a.Trend; t != nil {
		out.Trend = &fedpb.Trend{PerDay: t.PerDay, HoursToAlarm: t.HoursToAlarm}
	}
	return out
}

func driftOf(list []Drift) []*fedpb.Drift {
	var out []*fedpb.Drift
	for _, d := range list {
		out = append(out, &fedpb.Drift{
			Monitor: d.Monitor, Subject: d.Subject, Kind: d.Kind, Statistic: d.Statistic, Limit: d.Limit, Since: timeOf(d.Since),
		})
	}
	return out
}

func qualityOf(q *Quality) *fedpb.Quality {
	if q == nil {
		return nil
	}
	return &fedpb.Quality{TruePositives: q.TruePositives, FalsePositives: q.FalsePositives, FalseNegatives: q.FalseNegatives, Hours: q.Hours}
}

func versionsOf(list []VersionQuality) []*fedpb.VersionQuality {
	var out []*fedpb.VersionQuality
	for _, v := range list {
		out = append(out, &fedpb.VersionQuality{Job: v.Job, ModelVersion: v.ModelVersion, Quality: qualityOf(&v.Quality)})
	}
	return out
}

func reasonsOf(cs []Contribution) []*fedpb.Contribution {
	out := make([]*fedpb.Contribution, len(cs))
	for i, c := range cs {
		out[i] = &fedpb.Contribution{Feature: c.Feature, Share: c.Share}
	}
	return out
}

// timeOf leaves the zero time out of the message.
func timeOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// clean makes a text meant for people fit for the wire, which takes UTF-8 only.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
