// Package exposition writes metrics in the text format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). The client library
// does much more and costs the agent's binary 0.85 MB.
package exposition

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// ContentType of the format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Kind is the type of a metric.
type Kind string

// The kinds of metrics.
const (
	Counter Kind = "counter"
	Gauge   Kind = "gauge"
)

// Desc describes a metric.
type Desc struct {
	Name, Help string
	Labels     []string // their names
}

// Set collects the samples of one scrape. It must be used by one goroutine.
type Set struct {
	families map[*Desc]*family
}

type family struct {
	desc    *Desc
	kind    Kind
	samples []sample
}

type sample struct {
	labels string // as written
	value  float64
}

// Add adds a sample with the values of d's labels, in their order. A value too many is
// left out, one too few is empty. Two samples of the same labels are the caller's mistake
// and make the scrape invalid.
func (s *Set) Add(d *Desc, kind Kind, value float64, labels ...string) {
	if s.families == nil {
		s.families = map[*Desc]*family{}
	}
	f := s.families[d]
	if f == nil {
		f = &family{desc: d, kind: kind}
		s.families[d] = f
	}
	f.samples = append(f.samples, sample{written(d.Labels, labels), value})
}

func written(names, values []string) string {
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	for i, n := range names {
		v := ""
		if i < len(values) {
			v = values[i]
		}
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(n + `="` + labelEscaper.Replace(strings.ToValidUTF8(v, "\uFFFD")) + `"`)
	}
	b.WriteByte('}')
	return b.String()
}

var (
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// Append writes everything added, sorted by name and labels.
func (s *Set) Append(dst []byte) []byte {
	all := make([]*family, 0, len(s.families))
	for _, f := range s.families {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *family) int { return cmp.Compare(a.desc.Name, b.desc.Name) })
	for _, f := range all {
		dst = append(dst, "# HELP "+f.desc.Name+" "+helpEscaper.Replace(f.desc.Help)+"\n# TYPE "+f.desc.Name+" "+string(f.kind)+"\n"...)
		slices.SortFunc(f.samples, func(a, b sample) int { return cmp.Compare(a.labels, b.labels) })
		for _, x := range f.samples {
			dst = append(dst, f.desc.Name+x.labels+" "...)
			dst = append(strconv.AppendFloat(dst, x.value, 'g', -1, 64), '\n')
		}
	}
	return dst
}

// Handler serves what collect adds, collected anew at every scrape.
func Handler(collect func(*Set)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var s Set
		collect(&s)
		w.Header().Set("Content-Type", ContentType)
		_, _ = bytes.NewReader(s.Append(nil)).WriteTo(w) // a client that has gone is no error of ours
	})
}
