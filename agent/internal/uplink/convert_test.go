package uplink

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// What monitors find and labels say reaches the wire; what is not known stays away.
func TestStatusOf_DriftAndQuality(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	got := statusOf(Status{Machines: []MachineStatus{
		{
			Name: "p1", Drift: []Drift{{Monitor: "psi", Subject: "v.rms", Kind: "data", Statistic: 0.5, Limit: 0.2, Since: at}},
			Quality:  &Quality{TruePositives: 1, FalsePositives: 2, FalseNegatives: 3, Hours: 4},
			Versions: []VersionQuality{{Job: "g", ModelVersion: 7, Quality: Quality{FalsePositives: 2, Hours: 2}}},
		},
		{Name: "p2"},
	}}).GetMachines()
	want := []*fedpb.MachineStatus{
		{
			Name: "p1", Drift: []*fedpb.Drift{{Monitor: "psi", Subject: "v.rms", Kind: "data", Statistic: 0.5, Limit: 0.2, Since: timestamppb.New(at)}},
			Quality:  &fedpb.Quality{TruePositives: 1, FalsePositives: 2, FalseNegatives: 3, Hours: 4},
			Versions: []*fedpb.VersionQuality{{Job: "g", ModelVersion: 7, Quality: &fedpb.Quality{FalsePositives: 2, Hours: 2}}},
		},
		{Name: "p2"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
