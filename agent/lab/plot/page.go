package plot

import (
	"html/template"
	"io"
)

// Page is a report.
type Page struct {
	Title    string
	Lead     string // one paragraph
	Sections []Section
}

// Section is a part of a page: its notes, then its table, then its charts.
type Section struct {
	Title  string
	Notes  []string
	Table  *Table
	Charts []Chart
}

// Table is set as it is; each row has as many cells as the head.
type Table struct {
	Head []string
	Rows []Row
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
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto; max-width: 1240px; padding: 1.5rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem }
p, ul { max-width: 78ch; color: var(--soft) } ul { padding-left: 1.2rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; margin: .6rem 0 }
th, td { padding: .25rem .55rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap }
th { color: var(--soft); font-weight: 600 } th:nth-child(-n+3), td:nth-child(-n+3), th:last-child, td:last-child { text-align: left } td:last-child { white-space: normal }
tr.strong { background: var(--strong); font-weight: 600 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 1rem }
.chart { width: 100%; height: auto } .chart text { fill: var(--ink); font: 12px system-ui, sans-serif }
.chart .title { font-size: 14px; font-weight: 600 } .chart .small { fill: var(--soft) }
.chart .grid { stroke: var(--rule) } .chart .mark { stroke: var(--soft); stroke-dasharray: 4 3 }
</style></head><body>
<h1>{{.Title}}</h1>
{{with .Lead}}<p>{{.}}</p>{{end}}
{{range .Sections}}<section><h2>{{.Title}}</h2>
{{with .Notes}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{with .Table}}<div class="scroll"><table><thead><tr>{{range .Head}}<th>{{.}}</th>{{end}}</tr></thead><tbody>
{{range .Rows}}<tr{{if .Strong}} class="strong"{{end}}>{{range .Cells}}<td>{{.}}</td>{{end}}</tr>
{{end}}</tbody></table></div>{{end}}
{{with .Charts}}<div class="charts">{{range .}}<figure style="margin:0">{{.SVG}}</figure>{{end}}</div>{{end}}
</section>{{end}}
</body></html>
`
