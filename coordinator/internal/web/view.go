package web

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// builder makes one view of one snapshot. Views hold finished text; templates
// only arrange it.
type builder struct {
	clock
	snap  *fleet.Snapshot
	sum   summary
	path  string // escaped, of this view
	query url.Values
	size  int // of a page of a list
	v     *view
}

// view returns what the address shows. An unknown one is a view as well, with
// status 404, so that a page stays live when its gateway comes (back).
func (h *handler) view(snap *fleet.Snapshot, escapedPath string, query url.Values, live bool) *view {
	b := &builder{
		clock: clock{now: snap.At, zone: h.opts.Location, live: live},
		snap:  snap, sum: summarise(snap), path: escapedPath, query: query, size: h.opts.PageSize,
		v: &view{Status: http.StatusOK},
	}
	b.v.alarms = b.sum.AlarmsActive
	segs := segments(escapedPath)
	arg := func(i int) string {
		s, err := url.PathUnescape(segs[i])
		if err != nil {
			s = segs[i] // url.Parse refuses such a path before it comes here
		}
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	section := ""
	if len(segs) > 0 {
		section = segs[0]
	}
	switch {
	case len(segs) == 0:
		section = "fleet"
		b.fleet()
	case section == "gateways" && len(segs) == 2:
		b.gateway(arg(1))
	case section == "gateways" && len(segs) == 4 && segs[2] == "machines":
		b.machine(arg(1), arg(3))
	case section == "rounds" && len(segs) == 1:
		b.rounds()
	case section == "rounds" && len(segs) == 2:
		b.jobRounds(arg(1))
	case section == "rounds" && len(segs) == 3:
		b.round(arg(1), arg(2))
	case section == "models" && len(segs) == 1:
		b.models()
	case section == "jobs" && len(segs) == 1:
		b.jobs()
	case section == "alarms" && len(segs) == 1:
		b.alarms()
	default:
		b.nothing("There is nothing at this address", "The views are Fleet, Rounds, Models, Jobs and Alarms.")
	}
	b.nav(section)
	return b.v
}

// piece registers a part of the view that is updated alone. The key makes its id.
func (b *builder) piece(tmpl, key string, data any) *piece {
	p := &piece{ID: tmpl, Data: data, tmpl: tmpl}
	if key != "" {
		hash := fnv.New64a()
		hash.Write([]byte(key))
		p.ID = fmt.Sprintf("%s-%016x", tmpl, hash.Sum64())
	}
	b.v.pieces = append(b.v.pieces, p)
	return p
}

// show sets what the view consists of.
func (b *builder) show(title, body string, data any) {
	b.v.Title, b.v.Body, b.v.Data = title, body, data
}

// nothing is the view of what is not there, or no longer.
func (b *builder) nothing(title, advice string) {
	b.v.Status = http.StatusNotFound
	b.show(title, "nothing", empty{Title: title, Text: advice})
}

// empty says what to do where there is nothing to show yet.
type empty struct {
	Title, Text, Command string
	Then, Config         string // a second step
}

type navItem struct {
	Name, URL string
	Current   bool
	Badge     string
}

func (b *builder) nav(section string) {
	items := []navItem{{Name: "Fleet", URL: "/"}, {Name: "Rounds", URL: "/rounds"}, {Name: "Models", URL: "/models"},
		{Name: "Jobs", URL: "/jobs"}, {Name: "Alarms", URL: "/alarms"}}
	current := map[string]int{"fleet": 0, "gateways": 0, "rounds": 1, "models": 2, "jobs": 3, "alarms": 4}
	if i, ok := current[section]; ok {
		items[i].Current = true
	}
	announce := "No active alarm"
	if n := b.sum.AlarmsActive; n > 0 {
		items[4].Badge = formatCount(uint64(n))
		announce = plural(n, "active alarm")
	}
	b.v.Nav = b.piece("nav", "", struct {
		Items    []navItem
		Announce string
	}{items, announce})
}

// pager leads through a list in pages.
type pager struct {
	From, To, Total  int // as a person counts; Total 0 is an empty list
	Page, Pages      int
	Previous, Next   string // addresses; empty at the ends
	first, afterLast int    // as a slice counts
}

// pager places the parameter "page" in a list of n.
func (b *builder) pager(n int) pager {
	p := pager{Total: n, Page: 1, Pages: max(1, (n+b.size-1)/b.size)}
	if asked, err := strconv.Atoi(b.query.Get("page")); err == nil {
		p.Page = min(max(asked, 1), p.Pages)
	}
	p.first = (p.Page - 1) * b.size
	p.afterLast = min(p.first+b.size, n)
	p.From, p.To = min(p.first+1, n), p.afterLast
	if p.Page > 1 {
		p.Previous = b.with("page", strconv.Itoa(p.Page-1))
	}
	if p.Page < p.Pages {
		p.Next = b.with("page", strconv.Itoa(p.Page+1))
	}
	return p
}

// with is the address of this view with one parameter changed.
func (b *builder) with(key, value string) string {
	query := url.Values{}
	for k, v := range b.query {
		query[k] = v
	}
	query.Set(key, value)
	return b.path + "?" + query.Encode()
}

// anchor is a name that leads somewhere.
type anchor struct{ Text, URL string }

func gatewayURL(gateway string) string { return "/gateways/" + url.PathEscape(gateway) }

func machineURL(gateway, machine string) string {
	return gatewayURL(gateway) + "/machines/" + url.PathEscape(machine)
}

func roundsURL(job string) string { return "/rounds/" + url.PathEscape(job) }

func roundURL(job string, round uint64) string {
	return roundsURL(job) + "/" + strconv.FormatUint(round, 10)
}
