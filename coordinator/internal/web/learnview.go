package web

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

const (
	overviewRounds  = 10 // rounds of one job on the view of all jobs
	maxParticipants = 20 // participants unfolded in a row; the round's page has all
	maxCurve        = 2000
	maxWaiting      = 12 // gateways named for one reason
)

func modelName(job string, version uint64) string {
	if version == 0 {
		return "local"
	}
	if job == "" {
		return "v" + strconv.FormatUint(version, 10)
	}
	return job + " v" + strconv.FormatUint(version, 10)
}

type metric struct{ Name, Value string }

func metricList(metrics map[string]float64) []metric {
	var list []metric
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		list = append(list, metric{Name: name, Value: formatNumber(metrics[name])})
	}
	return list
}

func loss(metrics map[string]float64) string {
	if x, ok := metrics["loss"]; ok {
		return formatLoss(x)
	}
	return none
}

// participantView is one agent's part in a round.
type participantView struct {
	Gateway, URL, State, Reason string
	Weight, Bytes, Took, Loss   string
}

func newParticipantView(p *fleet.Participant) participantView {
	v := participantView{Gateway: p.Gateway, URL: gatewayURL(p.Gateway), State: p.State, Reason: p.Reason,
		Weight: formatWeight(p.Weight), Bytes: none, Took: formatSeconds(p.Seconds), Loss: loss(p.Metrics)}
	if p.Bytes > 0 {
		v.Bytes = formatBytes(p.Bytes)
	}
	return v
}

// roundView is a round in a list.
type roundView struct {
	Job, URL                 string
	Round                    uint64
	Attempt                  uint32
	Again                    bool // not the first attempt
	State, Reason            string
	Open                     bool
	Received, Invited        int
	Trouble                  int // declined, rejected or quarantined
	Width                    string
	Participants             []participantView
	MoreParticipants         int
	BytesIn, BytesOut        string
	Took, Loss               string
	Started, Ended, Deadline stamp
	HasDeadline              bool
	Metrics                  []metric
}

// roundView shows at most so many participants, those in trouble first.
func (b *builder) roundView(r *fleet.Round, participants int) roundView {
	v := roundView{Job: r.Job, URL: roundURL(r.Job, r.Round), Round: r.Round, Attempt: r.Attempt, Again: r.Attempt > 1,
		State: r.State, Reason: r.Reason, Open: r.State == "open",
		Received: countState(r.Participants, "received"), Invited: len(r.Participants), Width: "0",
		Trouble: countState(r.Participants, "declined") + countState(r.Participants, "rejected") + countState(r.Participants, "quarantined"),
		BytesIn: formatBytes(r.BytesIn), BytesOut: formatBytes(r.BytesOut), Took: formatSeconds(r.Seconds), Loss: loss(r.Metrics),
		Started: b.stamp(r.Started), Ended: b.stamp(r.Ended), Deadline: b.stamp(r.Deadline),
		HasDeadline: r.State == "open" && !r.Deadline.IsZero(), Metrics: metricList(r.Metrics)}
	if v.Invited > 0 {
		v.Width = coord(100 * float64(v.Received) / float64(v.Invited))
	}
	if v.Open {
		v.Took = none
	}
	if participants <= 0 {
		return v
	}
	for _, p := range sortedParticipants(r.Participants) {
		if len(v.Participants) == participants {
			v.MoreParticipants = v.Invited - participants
			break
		}
		v.Participants = append(v.Participants, newParticipantView(p))
	}
	return v
}

// sortedParticipants puts first what a person looks for: trouble, then who is
// still training, then who has delivered; each by name.
func sortedParticipants(participants []fleet.Participant) []*fleet.Participant {
	rank := map[string]int{"quarantined": 0, "rejected": 1, "declined": 2, "training": 3, "received": 4}
	list := make([]*fleet.Participant, len(participants))
	for i := range participants {
		list[i] = &participants[i]
	}
	slices.SortStableFunc(list, func(x, y *fleet.Participant) int {
		return cmp.Or(cmp.Compare(rank[x.State], rank[y.State]), cmp.Compare(x.Gateway, y.Gateway))
	})
	return list
}

// jobView is where a job stands.
type jobView struct {
	Name, URL, Class, Model, Role string
	Digest, ShortDigest           string
	Version                       uint64
	Planned                       int
	Width                         string // of the planned rounds committed
	Done                          bool
	Known                         bool // in the configuration; else only its rounds are left
	Ready, Connected              int
	Waiting                       []waiting
	Loss, Duration, Traffic       *chart
	HasCharts, NoRound            bool
	Drift                         *classDriftView // of the class; nil: none
	Quality                       *qualityView    // of the newest version's alarms; nil: nobody judged them
}

// waiting is a reason, and who cannot take part because of it.
type waiting struct {
	Reason   string
	Count    int
	Gateways []anchor
	More     int
}

func (b *builder) jobView(j *fleet.Job) jobView {
	v := jobView{Name: j.Name, URL: roundsURL(j.Name), Class: j.Class, Model: j.Model, Role: j.Role, Digest: j.Digest,
		ShortDigest: shortDigest(j.Digest), Version: j.Version, Planned: j.Rounds, Done: j.Done, Width: "0", Known: true,
		Ready: j.Ready, Connected: b.sum.Gateways.Connected}
	if j.Role == "live" {
		v.Drift = b.classDrift(j.Class)
	}
	for _, m := range b.snap.Models {
		if m.Job == j.Name && m.Release == "live" {
			v.Quality = newQualityView(m.Quality)
		}
	}
	if j.Rounds > 0 {
		v.Width = coord(100 * min(1, float64(j.Version)/float64(j.Rounds)))
	}
	byReason := map[string][]string{}
	for gateway, why := range j.Waiting {
		byReason[why] = append(byReason[why], gateway)
	}
	for _, why := range slices.Sorted(maps.Keys(byReason)) {
		gateways := slices.Sorted(slices.Values(byReason[why]))
		w := waiting{Reason: why, Count: len(gateways), More: max(0, len(gateways)-maxWaiting)}
		for _, g := range gateways[:min(len(gateways), maxWaiting)] {
			w.Gateways = append(w.Gateways, anchor{Text: g, URL: gatewayURL(g)})
		}
		v.Waiting = append(v.Waiting, w)
	}
	slices.SortStableFunc(v.Waiting, func(x, y waiting) int { return cmp.Compare(y.Count, x.Count) })
	return v
}

// withCharts draws the committed rounds of a job.
func (v jobView) withCharts(rounds []*fleet.Round) jobView {
	var losses, seconds, bytes []point
	for _, r := range slices.Backward(rounds) { // oldest first
		if r.State != "committed" {
			continue
		}
		if x, ok := r.Metrics["loss"]; ok {
			losses = append(losses, point{r.Round, x})
		}
		seconds = append(seconds, point{r.Round, r.Seconds})
		bytes = append(bytes, point{r.Round, float64(r.BytesIn) / 1024})
	}
	newest := func(points []point) []point { return points[max(0, len(points)-maxCurve):] }
	v.Loss = newChart("Loss", newest(losses), false)
	v.Duration = newChart("Duration in seconds", newest(seconds), true)
	v.Traffic = newChart("Received in KiB", newest(bytes), true)
	v.HasCharts = v.Duration != nil
	return v
}

// jobNames lists the live jobs, the shadow jobs, then those that only have rounds left.
func (b *builder) jobNames() []string {
	var names []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, j := range b.sortedJobs() {
		add(j.Name)
	}
	for _, r := range b.snap.Rounds {
		add(r.Job)
	}
	return names
}

// sortedJobs puts live jobs first; they raise the alarms.
func (b *builder) sortedJobs() []*fleet.Job {
	list := make([]*fleet.Job, len(b.snap.Jobs))
	for i := range b.snap.Jobs {
		list[i] = &b.snap.Jobs[i]
	}
	slices.SortStableFunc(list, func(x, y *fleet.Job) int {
		return cmp.Or(cmp.Compare(x.Role, y.Role), cmp.Compare(x.Name, y.Name)) // "live" sorts before "shadow"
	})
	return list
}

func (b *builder) jobByName(name string) jobView {
	for i := range b.snap.Jobs {
		if b.snap.Jobs[i].Name == name {
			return b.jobView(&b.snap.Jobs[i])
		}
	}
	return jobView{Name: name, URL: roundsURL(name)}
}

func (b *builder) roundsOf(job string) []*fleet.Round {
	var rounds []*fleet.Round
	for i := range b.snap.Rounds {
		if b.snap.Rounds[i].Job == job {
			rounds = append(rounds, &b.snap.Rounds[i])
		}
	}
	return rounds
}

// section is a job with its rounds.
type section struct {
	Name string
	Job  *piece // with the reasons to wait, while there is no round
	Rows []*piece
	More int // older rounds, to be found at URL
	URL  string
}

func (b *builder) section(name string, rounds, shown []*fleet.Round) section {
	v := b.jobByName(name).withCharts(rounds)
	v.NoRound = len(rounds) == 0
	s := section{Name: name, URL: v.URL, Job: b.piece("job-head", name, v)}
	for _, r := range shown {
		key := name + "\x00" + strconv.FormatUint(r.Round, 10) + "\x00" + strconv.FormatUint(uint64(r.Attempt), 10)
		s.Rows = append(s.Rows, b.piece("round", key, b.roundView(r, maxParticipants)))
	}
	return s
}

var noJob = empty{Title: "No job is configured", Text: "A job says what is learned over all machines of a class. Add one under jobs: in the coordinator's configuration, check it, and restart the coordinator.",
	Command: "millwright-coordinator check"}

// rounds shows every job with its curve and newest rounds.
func (b *builder) rounds() {
	data := struct {
		Heading  string
		Sections []section
		Empty    *empty
	}{Heading: plural(len(b.sum.RoundsOpen), "open round")}
	for _, name := range b.jobNames() {
		rounds := b.roundsOf(name)
		s := b.section(name, rounds, rounds[:min(len(rounds), overviewRounds)])
		s.More = max(0, len(rounds)-overviewRounds)
		data.Sections = append(data.Sections, s)
	}
	if len(data.Sections) == 0 {
		data.Empty = &noJob
	}
	b.show("Rounds", "rounds", data)
}

// jobRounds shows every round of one job.
func (b *builder) jobRounds(name string) {
	if !slices.Contains(b.jobNames(), name) {
		b.nothing("No job is named “"+name+"”", "The Jobs view lists those there are.")
		return
	}
	rounds := b.roundsOf(name)
	p := b.pager(len(rounds))
	b.show("Rounds of "+name, "job-rounds", struct {
		Section section
		Pager   pager
	}{b.section(name, rounds, rounds[p.first:p.afterLast]), p})
}

// round shows every attempt at one round, the newest first, with all participants.
func (b *builder) round(name, number string) {
	type attempt struct {
		Head  *piece
		Pager pager
	}
	data := struct {
		Job, JobURL, Round string
		Attempts           []attempt
	}{Job: name, JobURL: roundsURL(name), Round: number}
	for _, r := range b.roundsOf(name) {
		if strconv.FormatUint(r.Round, 10) != number {
			continue
		}
		a := attempt{Pager: b.pager(len(r.Participants))}
		v := b.roundView(r, 0)
		v.Again = false // the heading says it
		for _, p := range sortedParticipants(r.Participants)[a.Pager.first:a.Pager.afterLast] {
			v.Participants = append(v.Participants, newParticipantView(p))
		}
		a.Head = b.piece("attempt", strconv.FormatUint(uint64(r.Attempt), 10), v)
		data.Attempts = append(data.Attempts, a)
	}
	if len(data.Attempts) == 0 {
		b.nothing("Job “"+name+"” has no round “"+number+"”", "Only the newest rounds are kept for display. The Rounds view lists them.")
		return
	}
	b.show(name+" round "+number, "round-page", data)
}
