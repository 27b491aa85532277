package web

import (
	"maps"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// dropped is a number of samples lost for one reason.
type dropped struct{ Reason, Count string }

// readiness is how one gateway stands towards one job.
type readiness struct{ Job, URL, Waiting string }

func (b *builder) findGateway(name string) *fleet.Gateway {
	for i := range b.snap.Gateways {
		if b.snap.Gateways[i].Name == name {
			return &b.snap.Gateways[i]
		}
	}
	b.nothing("No gateway is named “"+name+"”", "It has not enrolled, or under another name. The fleet lists those there are.")
	return nil
}

// gateway is one gateway with all its machines.
func (b *builder) gateway(name string) {
	g := b.findGateway(name)
	if g == nil {
		return
	}
	type facts struct {
		Gateway                             *fleet.Gateway
		LastSeen, Enrolled, CertExpires     stamp
		CertSoon, CertEnded                 bool
		Received, DroppedTotal, DroppedPart string
		Dropped                             []dropped
		Waiting                             []readiness
		Quarantine                          []quarantineView
		ReleaseCommand                      string
	}
	data := struct {
		Name     string
		Facts    *piece
		Machines []*piece
		Pager    pager
		Rounds   *piece
		Alarms   *piece
	}{Name: g.Name}
	f := facts{Gateway: g, LastSeen: b.stamp(g.LastSeen), Enrolled: b.stamp(g.Enrolled), CertExpires: b.stamp(g.CertExpires),
		CertSoon:  !g.CertExpires.IsZero() && g.CertExpires.Sub(b.now) < certificateSoon,
		CertEnded: !g.CertExpires.IsZero() && !g.CertExpires.After(b.now), Received: formatCount(g.ReceivedTotal)}
	if f.Quarantine = b.quarantine(g); len(f.Quarantine) > 0 {
		f.ReleaseCommand = "millwright-coordinator quarantine release " + g.Name
	}
	total := uint64(0)
	for _, reason := range slices.Sorted(maps.Keys(g.DroppedTotal)) {
		if n := g.DroppedTotal[reason]; n > 0 {
			total += n
			f.Dropped = append(f.Dropped, dropped{Reason: reason, Count: formatCount(n)})
		}
	}
	f.DroppedTotal = formatCount(total)
	if total > 0 && g.ReceivedTotal > 0 {
		f.DroppedPart = formatNumber(100*float64(total)/float64(g.ReceivedTotal)) + " %"
	}
	for _, j := range b.snap.Jobs {
		if why, ok := j.Waiting[g.Name]; ok {
			f.Waiting = append(f.Waiting, readiness{Job: j.Name, URL: "/jobs", Waiting: why})
		}
	}
	data.Facts = b.piece("gateway-facts", "", f)
	data.Pager = b.pager(len(g.Machines))
	for k := range g.Machines[data.Pager.first:data.Pager.afterLast] {
		m := &g.Machines[data.Pager.first+k]
		data.Machines = append(data.Machines, b.piece("machine", m.Name, b.machineView(g, m, maxRowReasons)))
	}
	data.Rounds = b.gatewayRounds(g.Name)
	data.Alarms = b.alarmsOf(func(a *fleet.Alarm) bool { return a.Gateway == g.Name })
	b.show(g.Name, "gateway", data)
}

// partView is a gateway's part in one round.
type partView struct {
	Round roundView
	participantView
}

// gatewayRounds lists the newest rounds the gateway was part of.
func (b *builder) gatewayRounds(gateway string) *piece {
	var parts []partView
	for i := range b.snap.Rounds {
		r := &b.snap.Rounds[i]
		for k := range r.Participants {
			if r.Participants[k].Gateway == gateway && len(parts) < 10 {
				parts = append(parts, partView{Round: b.roundView(r, 0), participantView: newParticipantView(&r.Participants[k])})
			}
		}
	}
	return b.piece("gateway-rounds", "", parts)
}

// machine is one machine: how bad, why, since when, by which model.
func (b *builder) machine(gateway, name string) {
	g := b.findGateway(gateway)
	if g == nil {
		return
	}
	i := slices.IndexFunc(g.Machines, func(m fleet.Machine) bool { return m.Name == name })
	if i < 0 {
		b.nothing("Gateway “"+gateway+"” has no machine named “"+name+"”", "The agent's configuration names its machines. The gateway's page lists those there are.")
		return
	}
	m := &g.Machines[i]
	type state struct {
		machineView
		Verdict  string
		LastSeen stamp
	}
	v := state{machineView: b.machineView(g, m, -1), Verdict: verdict(m), LastSeen: b.stamp(g.LastSeen)}
	b.show(m.Name, "machine-page", struct {
		Name, Gateway, GatewayURL string
		State, Outlook            *piece
		Alarms                    *piece
	}{m.Name, g.Name, gatewayURL(g.Name), b.piece("machine-state", "", v), b.piece("machine-outlook", "", b.outlook(m)),
		b.alarmsOf(func(a *fleet.Alarm) bool { return a.Gateway == gateway && a.Machine == name })})
}

// verdict says in words what zone and score say in signs.
func verdict(m *fleet.Machine) string {
	switch {
	case zoneIndex(m.Zone) < 0 && m.State == "baseline":
		return "Learning its baseline; scores follow."
	case zoneIndex(m.Zone) < 0:
		return "Not scored yet."
	case m.Alarm:
		return "In alarm. " + zoneHelp[m.Zone]
	}
	return zoneHelp[m.Zone]
}

var zoneHelp = map[string]string{
	"A": "Good: as in its healthy baseline.",
	"B": "Acceptable: unusual, below the alarm threshold.",
	"C": "Above the alarm threshold: plan maintenance.",
	"D": "More than twice the alarm threshold: act now.",
}

// alarmView is an alarm in a list.
type alarmView struct {
	ID, Gateway, Machine, Class string
	URL, GatewayURL             string
	Zone, ZoneClass, Peak       string
	Active                      bool
	Raised, Cleared             stamp
	Lasted                      string
	Reasons                     []reason
	Model                       string
	Fault                       string // in few words; empty while nothing is known
	Judgement                   string // "right", "wrong" or empty
}

func (b *builder) alarmView(a *fleet.Alarm) *alarmView {
	v := &alarmView{ID: a.ID, Gateway: a.Gateway, Machine: a.Machine, Class: a.Class,
		URL: machineURL(a.Gateway, a.Machine), GatewayURL: gatewayURL(a.Gateway),
		ZoneClass: "none", Peak: formatScore(a.Peak), Active: a.Cleared.IsZero(),
		Raised: b.stamp(a.Raised), Cleared: b.stamp(a.Cleared), Reasons: reasonList(a.Reasons, maxRowReasons), Model: modelName(a.Job, a.Version)}
	if zoneIndex(a.Zone) >= 0 {
		v.Zone, v.ZoneClass = a.Zone, strings.ToLower(a.Zone)
	}
	if f := newFaultView(a.Fault); f != nil && !f.Unknown {
		v.Fault = f.Name + " " + f.Percent
	}
	if a.Verdict == "right" || a.Verdict == "wrong" {
		v.Judgement = a.Verdict
	}
	if !v.Active {
		v.Lasted = formatSeconds(a.Cleared.Sub(a.Raised).Seconds())
	}
	return v
}

// sortedAlarms returns the alarms that match, active ones first, each newest first.
func (b *builder) sortedAlarms(match func(*fleet.Alarm) bool) []*fleet.Alarm {
	var list []*fleet.Alarm
	for i := range b.snap.Alarms {
		if a := &b.snap.Alarms[i]; match(a) {
			list = append(list, a)
		}
	}
	slices.SortStableFunc(list, func(x, y *fleet.Alarm) int {
		if xActive, yActive := x.Cleared.IsZero(), y.Cleared.IsZero(); xActive != yActive {
			if xActive {
				return -1
			}
			return 1
		}
		return y.Raised.Compare(x.Raised)
	})
	return list
}

// alarmsOf is the list of a gateway's or machine's newest alarms.
func (b *builder) alarmsOf(match func(*fleet.Alarm) bool) *piece {
	list := b.sortedAlarms(match)
	var views []*alarmView
	for _, a := range list[:min(len(list), 20)] {
		views = append(views, b.alarmView(a))
	}
	return b.piece("alarm-list", "", views)
}

// alarms is every alarm there is, active ones first.
func (b *builder) alarms() {
	list := b.sortedAlarms(func(*fleet.Alarm) bool { return true })
	data := struct {
		Heading string
		Empty   *empty
		Rows    []*piece
		Pager   pager
	}{Heading: "none active", Pager: b.pager(len(list))}
	if b.sum.AlarmsActive > 0 {
		data.Heading = formatCount(uint64(b.sum.AlarmsActive)) + " active"
	}
	if len(list) == 0 {
		data.Empty = &empty{Title: "No alarm so far",
			Text: "An alarm is raised when a machine's score stays above its threshold, and is listed here until long after it has cleared. Machines that still learn their baseline raise none."}
	}
	for _, a := range list[data.Pager.first:data.Pager.afterLast] {
		data.Rows = append(data.Rows, b.piece("alarm", a.Gateway+"\x00"+a.ID, b.alarmView(a)))
	}
	b.show("Alarms", "alarms", data)
}
