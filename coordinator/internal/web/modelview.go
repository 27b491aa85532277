package web

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// modelView is a committed version of a job's global model.
type modelView struct {
	Job, URL, Download   string
	Version              uint64
	Digest, ShortDigest  string
	Size, Parameters     string
	Committed            stamp
	Participants, Weight string
	Gateways             int
	Release, Loss        string
	Live                 bool
	Quality              *qualityView // nil: nobody judged its alarms
	Judged               bool         // there is a column for it
}

// models lists the committed versions, newest first.
func (b *builder) models() {
	data := struct {
		Heading string
		Empty   *empty
		Rows    []*piece
		Pager   pager
		Judged  bool // there is something to say of alarms
	}{Heading: plural(len(b.snap.Models), "version"), Pager: b.pager(len(b.snap.Models))}
	if len(b.snap.Models) == 0 {
		data.Empty = &empty{Title: "No global model yet",
			Text: "Each committed round makes one. Until the first, every machine is watched by its own local model, which needs no coordinator."}
	}
	data.Judged = slices.ContainsFunc(b.snap.Models, func(m fleet.Model) bool { return m.Quality != nil })
	for _, m := range b.snap.Models[data.Pager.first:data.Pager.afterLast] {
		version := strconv.FormatUint(m.Version, 10)
		v := modelView{Job: m.Job, URL: roundURL(m.Job, m.Version), Version: m.Version,
			Download: "/api/v1/models/" + url.PathEscape(m.Job) + "/" + version + ".safetensors",
			Digest:   m.Digest, ShortDigest: shortDigest(m.Digest), Size: formatBytes(m.SizeBytes), Parameters: none,
			Committed: b.stamp(m.Committed), Participants: formatCount(uint64(max(m.Participants, 0))), Weight: formatWeight(m.Weight),
			Gateways: m.Gateways, Release: m.Release, Live: m.Release == "live",
			Quality: newQualityView(m.Quality), Judged: data.Judged, Loss: loss(m.Metrics)}
		if m.Parameters > 0 {
			v.Parameters = formatCount(uint64(m.Parameters))
		}
		data.Rows = append(data.Rows, b.piece("model", m.Job+"\x00"+version, v))
	}
	b.show("Models", "models", data)
}

// jobs lists what is federated, and who waits for what.
func (b *builder) jobs() {
	data := struct {
		Heading string
		Empty   *empty
		Cards   []*piece
		Pager   pager
	}{Heading: formatCount(uint64(len(b.snap.Jobs))) + " configured", Pager: b.pager(len(b.snap.Jobs))}
	if len(b.snap.Jobs) == 0 {
		data.Empty = &noJob
	}
	for _, j := range b.sortedJobs()[data.Pager.first:data.Pager.afterLast] {
		data.Cards = append(data.Cards, b.piece("job-card", j.Name, b.jobView(j)))
	}
	b.show("Jobs", "jobs", data)
}
