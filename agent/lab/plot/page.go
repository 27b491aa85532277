package plot

import (
	"html/template"
	"io"
	"regexp"
)

// Page is a report.
type Page struct {
	Title    string
	Lead     string // one paragraph
	Sections []Section
}

// Section is a part of a page: its notes, then its table, its small tables side by
// side, and its charts.
type Section struct {
	Title  string
	Notes  []string
	Table  *Table
	Small  []Table
	Charts []Chart
}

// Table is set as it is; each row has as many cells as the head.
type Table struct {
	Title string // may be empty
	Head  []string
	Rows  []Row
}

// figure matches cells that are numbers, with what may stand around them.
var figure = regexp.MustCompile(`^[−+<≤]?[\d.,]*\d(e[+−-]?\d+)?(/\d+)?( ?(s|h|%|MB|kB))?$|^–$`)

// Align returns the class of each column's cells: "n" for columns of figures, which
// stand right, "" for others.
func (t Table) Align() []string {
	class := make([]string, len(t.Head))
	for i := range class {
		figures := 0
		for _, r := range t.Rows {
			if i >= len(r.Cells) || !figure.MatchString(r.Cells[i]) {
				figures = -1
				break
			}
			figures++
		}
		if figures > 0 {
			class[i] = "n"
		}
	}
	return class
}

// Row is one row of a table.
type Row struct {
	Cells  []string
	Strong bool // stands out
}

// Write writes p as one self-contained HTML document.
func (p Page) Write(w io.Writer) error {
	return template.Must(template.New("page").Parse(pageHTML)).Execute(w, p)
}

const pageHTML = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2025; --soft: #5b636e; --rule: #d9dde2; --ground: #fff; --strong: #eef5fb }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a0a8b3; --rule: #383e46; --ground: #16191d; --strong: #1d2a36 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto; max-width: 1320px; padding: 1.5rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem }
p, ul { max-width: 78ch; color: var(--soft) } ul { padding-left: 1.2rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; margin: .6rem 0 }
caption { text-align: left; color: var(--soft); padding: .2rem .55rem }
th, td { padding: .25rem .55rem; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap }
th.n, td.n { text-align: right } th { color: var(--soft); font-weight: 600 } td:last-child { white-space: normal } td:last-child:not(.n) { min-width: 11rem }
.small { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem }
tr.strong { background: var(--strong); font-weight: 600 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 1.4rem 1rem }
figure { margin: 0; overflow-x: auto } .chart { display: block; width: 100%; min-width: 440px; height: auto } .chart text { fill: var(--ink); font: 12px system-ui, sans-serif }
.chart .title { font-size: 14px; font-weight: 600 } .chart .small { fill: var(--soft) }
.chart .grid { stroke: var(--rule) } .chart .mark { stroke: var(--soft); stroke-dasharray: 4 3 } .chart .ring { fill: var(--ground); fill-opacity: .6; stroke-width: 2.5 } .chart .faint { stroke-opacity: .45; stroke-dasharray: 2 4 }
@media print { .charts figure { break-inside: avoid } }
</style></head><body>
<h1>{{.Title}}</h1>
{{with .Lead}}<p>{{.}}</p>{{end}}
{{range .Sections}}<section><h2>{{.Title}}</h2>
{{with .Notes}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{with .Table}}<div class="scroll">{{template "table" .}}</div>{{end}}
{{with .Small}}<div class="small">{{range .}}<div class="scroll">{{template "table" .}}</div>{{end}}</div>{{end}}
{{with .Charts}}<div class="charts">{{range .}}<figure>{{.SVG}}</figure>{{end}}</div>{{end}}
</section>{{end}}
</body></html>
{{define "table"}}{{$class := .Align}}<table>{{with .Title}}<caption>{{.}}</caption>{{end}}<thead><tr>{{range $i, $c := .Head}}<th{{with index $class $i}} class="{{.}}"{{end}}>{{$c}}</th>{{end}}</tr></thead><tbody>
{{range .Rows}}<tr{{if .Strong}} class="strong"{{end}}>{{range $i, $c := .Cells}}<td{{with index $class $i}} class="{{.}}"{{end}}>{{$c}}</td>{{end}}</tr>
{{end}}</tbody></table>{{end}}`
