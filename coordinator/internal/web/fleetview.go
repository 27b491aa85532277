package web

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

const (
	maxGroupMachines = 20 // machines of one gateway in the fleet's list
	maxRowReasons    = 3
	maxSilent        = 3 // gateways that are not connected, named in the tile
	certificateSoon  = 14 * 24 * time.Hour
)

// stateHelp explains a machine's state in one line.
var stateHelp = map[string]string{
	"waiting":  "no measurements yet: check its source in the agent's configuration",
	"baseline": "learning what is normal on this machine",
	"running":  "scored against its own baseline",
	"off":      "stands still: not scored until it runs",
	"stale":    "measurements have stopped: the score is the last one known",
}

// reason is a feature and its share of a score.
type reason struct{ Feature, Percent, Width string }

// machineView is a machine in a list and on its own page.
type machineView struct {
	Name, URL, Class string
	Gateway          string
	State, StateHelp string
	Zone, ZoneClass  string // "D", "d"; empty and "none" until scored
	Score, Position  string
	Alarm            bool
	Quiet            bool // its gateway is not connected: everything shown is old
	Reasons          []reason
	Model, ModelURL  string
	At               stamp
	Fault, Life      string // in few words; empty while nothing is known
	Drift            string // what drifts on it alone; empty: nothing
}

func (b *builder) machineView(g *fleet.Gateway, m *fleet.Machine, reasons int) machineView {
	v := machineView{Name: m.Name, URL: machineURL(g.Name, m.Name), Class: m.Class, Gateway: g.Name,
		State: m.State, StateHelp: stateHelp[m.State], ZoneClass: "none", Score: none, Position: "0",
		Alarm: m.Alarm, Quiet: !g.Connected, Reasons: reasonList(m.Reasons, reasons), At: b.stamp(m.At), Model: "local"}
	if zoneIndex(m.Zone) >= 0 {
		v.Zone, v.ZoneClass = m.Zone, strings.ToLower(m.Zone)
		v.Score, v.Position = formatScore(m.Score), coord(scorePosition(m.Score))
	} else {
		v.Model = none
	}
	if f := newFaultView(m.Fault); f != nil && !f.Unknown && m.Alarm {
		v.Fault = f.Name + " " + f.Percent
	}
	if l := b.lifeView(m.Life); l != nil {
		v.Life = l.Text + " left"
	}
	var drift []string
	for _, d := range m.Drift {
		if !b.wholeClass(m.Class, d) { // which is told once, for all
			drift = append(drift, d.Subject)
		}
	}
	v.Drift = strings.Join(drift[:min(len(drift), maxSubjects)], ", ")
	if m.ModelVersion > 0 {
		v.Model = m.Job + " v" + strconv.FormatUint(m.ModelVersion, 10)
		v.ModelURL = "/models"
	}
	return v
}

// reasonList takes the first n reasons that are worth naming; n < 0 takes all.
func reasonList(reasons []fleet.Contribution, n int) []reason {
	var list []reason
	for _, r := range reasons {
		if len(list) == n || r.Share < 0.005 {
			break
		}
		list = append(list, reason{Feature: r.Feature, Percent: formatPercent(r.Share), Width: coord(100 * min(r.Share, 1))})
	}
	return list
}

// quarantineView is a job for which a gateway's updates do not count.
type quarantineView struct {
	Job, URL, Reason string
	Round            string
	RoundURL         string
	Since            stamp
	Until            string // what it takes to get out
}

func (b *builder) quarantine(g *fleet.Gateway) []quarantineView {
	var list []quarantineView
	for _, q := range g.Quarantine {
		v := quarantineView{Job: q.Job, URL: roundsURL(q.Job), Reason: q.Reason, Since: b.stamp(q.Since),
			Round: strconv.FormatUint(q.Round, 10), RoundURL: roundURL(q.Job, q.Round),
			Until: "It counts again once a person releases it."}
		if q.ReleaseAfter > 0 {
			v.Until = "Clean for " + strconv.Itoa(q.Clean) + " of " + strconv.Itoa(q.ReleaseAfter) + " rounds, after which it counts again."
		}
		list = append(list, v)
	}
	return list
}

// gatewayGroup is a gateway with its machines in the fleet's list.
type gatewayGroup struct {
	Name, URL, Version string
	Connected          bool
	LastSeen           stamp
	Quarantine         []quarantineView
	Machines           []machineView
	More               int // machines left out
}

// fleet is the overview: tiles, then gateways with their machines, filtered by
// text (q) and zone, by name or worst first.
func (b *builder) fleet() {
	type option struct {
		Value, Text string
		Selected    bool
	}
	data := struct {
		Tiles       *piece
		Drift       *piece
		Empty       *empty
		Query       string
		ZoneOptions []option
		SortOptions []option
		Filtered    bool
		Heading     string
		Groups      []*piece
		Pager       pager
	}{}
	if len(b.snap.Gateways) == 0 {
		data.Empty = &empty{Title: "No gateway has enrolled yet",
			Text:    "First make a token on this machine. It admits one gateway, once.",
			Command: tokenCommand,
			Then:    "Then put it into the agent’s configuration on the gateway, and start the agent. It appears here within seconds.",
			Config:  "coordinator:\n  address: THIS-HOST:7443\n  token: mw1.…"}
		b.show("Fleet", "fleet", data)
		return
	}
	data.Tiles = b.tiles()
	data.Drift = b.piece("drift-notice", "", b.wholeClasses())
	q, zone, order := strings.ToValidUTF8(strings.TrimSpace(b.query.Get("q")), "\uFFFD"), b.query.Get("zone"), b.query.Get("sort")
	data.Query, data.Filtered = q, q != "" || zone != ""
	for _, o := range []option{{Value: "", Text: "all zones"}, {Value: "A", Text: "zone A"}, {Value: "B", Text: "zone B"},
		{Value: "C", Text: "zone C"}, {Value: "D", Text: "zone D"}, {Value: "none", Text: "not scored"}} {
		o.Selected = o.Value == zone
		data.ZoneOptions = append(data.ZoneOptions, o)
	}
	for _, o := range []option{{Value: "", Text: "by name"}, {Value: "worst", Text: "worst first"}} {
		o.Selected = o.Value == order
		data.SortOptions = append(data.SortOptions, o)
	}

	type found struct {
		gateway  *fleet.Gateway
		machines []*fleet.Machine
		worst    float64
	}
	var all []found
	machines := 0
	for i := range b.snap.Gateways {
		f := found{gateway: &b.snap.Gateways[i], worst: -1}
		named := containsFold(f.gateway.Name, q)
		for k := range f.gateway.Machines {
			m := &f.gateway.Machines[k]
			if (named || containsFold(m.Name, q) || containsFold(m.Class, q)) && zoneMatches(m.Zone, zone) {
				f.machines = append(f.machines, m)
				if m.Zone != "" {
					f.worst = max(f.worst, m.Score)
				}
			}
		}
		if len(f.machines) > 0 || (zone == "" && named) {
			all = append(all, f)
			machines += len(f.machines)
		}
	}
	if order == "worst" {
		slices.SortStableFunc(all, func(x, y found) int { return cmp.Compare(y.worst, x.worst) })
	}
	data.Heading = plural(len(all), "gateway") + ", " + plural(machines, "machine")
	data.Pager = b.pager(len(all))
	for _, f := range all[data.Pager.first:data.Pager.afterLast] {
		g := gatewayGroup{Name: f.gateway.Name, URL: gatewayURL(f.gateway.Name), Version: f.gateway.Version,
			Connected: f.gateway.Connected, LastSeen: b.stamp(f.gateway.LastSeen), Quarantine: b.quarantine(f.gateway)}
		for _, m := range f.machines {
			if len(g.Machines) == maxGroupMachines {
				g.More = len(f.machines) - maxGroupMachines
				break
			}
			g.Machines = append(g.Machines, b.machineView(f.gateway, m, maxRowReasons))
		}
		data.Groups = append(data.Groups, b.piece("group", g.Name, g))
	}
	b.show("Fleet", "fleet", data)
}

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

func zoneMatches(zone, wanted string) bool {
	if wanted == "none" {
		return zone == ""
	}
	return wanted == "" || zone == wanted
}

type zoneCount struct {
	Zone, Class, URL string
	Count            string
}

type openRoundView struct {
	Job, URL                   string
	Round                      uint64
	Received, Participants     int
	Width                      string
	Deadline                   stamp
	HasDeadline, AnyoneInvited bool
}

// tiles is the row of numbers on top of the fleet.
func (b *builder) tiles() *piece {
	type tiles struct {
		Connected, Enrolled string
		Silent              []anchor
		MoreSilent          int
		Machines            string
		Zones               []zoneCount
		Unscored            string
		Stack               []share
		StackLabel          string
		Alarms              string
		AlarmNow            bool
		Worst               *alarmView
		LastAlarm           *alarmView
		Rounds              []openRoundView
		MoreRounds          int
		Last                *roundView
	}
	s := b.sum
	t := tiles{Connected: formatCount(uint64(s.Gateways.Connected)), Enrolled: formatCount(uint64(s.Gateways.Enrolled)),
		Machines: formatCount(uint64(s.Machines.Total)),
		Alarms:   formatCount(uint64(s.AlarmsActive)), AlarmNow: s.AlarmsActive > 0}
	for _, g := range b.snap.Gateways {
		if g.Connected {
			continue
		}
		if len(t.Silent) < maxSilent {
			t.Silent = append(t.Silent, anchor{Text: g.Name, URL: gatewayURL(g.Name)})
		} else {
			t.MoreSilent++
		}
	}
	classes, counts := []string{"a", "b", "c", "d", "none"}, make([]int, 5)
	var label []string
	for i, z := range zones {
		counts[i] = s.Machines.ByZone[z]
		t.Zones = append(t.Zones, zoneCount{Zone: z, Class: classes[i], URL: "/?zone=" + z, Count: formatCount(uint64(counts[i]))})
		label = append(label, z+" "+strconv.Itoa(counts[i]))
	}
	counts[4] = s.Machines.Unscored
	if counts[4] > 0 {
		t.Unscored = formatCount(uint64(counts[4]))
		label = append(label, "not scored "+t.Unscored)
	}
	t.Stack, t.StackLabel = stack(classes, counts), "machines by zone: "+strings.Join(label, ", ")
	var worst, latest *fleet.Alarm
	for i := range b.snap.Alarms {
		a := &b.snap.Alarms[i]
		if latest == nil {
			latest = a
		}
		if a.Cleared.IsZero() && (worst == nil || a.Peak > worst.Peak) {
			worst = a
		}
	}
	if worst != nil {
		t.Worst = b.alarmView(worst)
	} else if latest != nil {
		t.LastAlarm = b.alarmView(latest)
	}
	for i, r := range s.RoundsOpen {
		if i == 2 {
			t.MoreRounds = len(s.RoundsOpen) - i
			break
		}
		v := openRoundView{Job: r.Job, URL: roundURL(r.Job, r.Round), Round: r.Round, Received: r.Received,
			Participants: r.Participants, Width: "0", Deadline: b.stamp(r.Deadline), HasDeadline: !r.Deadline.IsZero()}
		if r.Participants > 0 {
			v.AnyoneInvited, v.Width = true, coord(100*float64(r.Received)/float64(r.Participants))
		}
		t.Rounds = append(t.Rounds, v)
	}
	if len(s.RoundsOpen) == 0 && len(b.snap.Rounds) > 0 {
		last := b.roundView(&b.snap.Rounds[0], 0)
		t.Last = &last
	}
	return b.piece("tiles", "", t)
}
