package plot

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
)

// Size of a chart in its own units; it scales to the width of the page.
const (
	width, height            = 640, 400
	left, right, top, bottom = 58, 12, 50, 46
	keyWidth, letterWidth    = 14, 6.4 // of the legend
)

// SVG draws c as an inline element.
func (c Chart) SVG() template.HTML {
	var xs, ys []float64
	for _, s := range c.Series {
		xs = append(xs, s.X...)
		ys = append(append(append(ys, s.Y...), s.Low...), s.High...)
	}
	for _, m := range c.Marks {
		xs = append(xs, m.X)
	}
	x := newAxis(c.X, xs, left, width-right)
	y := newAxis(c.Y, ys, height-bottom, top)
	w := &writer{}
	w.printf(`<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`, width, height, html.EscapeString(c.Title))
	w.text(width/2, 16, "middle", "title", c.Title)
	w.axes(x, y, c)
	for _, m := range c.Marks {
		if p := x.pixel(m.X); drawable(m.X) && m.X >= x.from && m.X <= x.to {
			w.printf(`<line class="mark" x1="%s" x2="%s" y1="%d" y2="%d"/>`, px(p), px(p), top, height-bottom)
			w.text(p+3, top+10, "start", "small", m.Label)
		}
	}
	for _, s := range c.Series {
		w.series(s, x, y)
	}
	w.legend(c.Series)
	w.printf("</svg>")
	return template.HTML(w.String()) // all text is escaped above
}

type writer struct{ strings.Builder }

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

func (w *writer) text(x, y float64, anchor, class, s string) {
	w.printf(`<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, px(x), px(y), anchor, html.EscapeString(s))
}

func (w *writer) axes(x, y axis, c Chart) {
	for _, t := range x.ticks {
		p := px(x.pixel(t))
		w.printf(`<line class="grid" x1="%s" x2="%s" y1="%d" y2="%d"/>`, p, p, top, height-bottom)
		w.text(x.pixel(t), height-bottom+16, "middle", "small", number(t))
	}
	for _, t := range y.ticks {
		p := px(y.pixel(t))
		w.printf(`<line class="grid" x1="%d" x2="%d" y1="%s" y2="%s"/>`, left, width-right, p, p)
		w.text(left-6, y.pixel(t)+4, "end", "small", number(t))
	}
	w.text((left+width-right)/2, height-8, "middle", "small", c.XLabel)
	w.printf(`<text class="small" transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`, (top+height-bottom)/2, html.EscapeString(c.YLabel))
}

func (w *writer) series(s Series, x, y axis) {
	colour := s.Colour.hex()
	switch s.Style {
	case Points:
		for i := range s.X {
			if !drawable(s.X[i]) || !drawable(s.Y[i]) {
				continue
			}
			w.printf(`<circle cx="%s" cy="%s" r="3" fill="%s" fill-opacity=".8">`, px(x.pixel(s.X[i])), px(y.pixel(s.Y[i])), colour)
			if i < len(s.Titles) {
				w.printf(`<title>%s</title>`, html.EscapeString(s.Titles[i]))
			}
			w.printf(`</circle>`)
		}
	case Whisks:
		for i := range s.X {
			if drawable(s.X[i]) && drawable(s.Low[i]) && drawable(s.High[i]) {
				p := px(x.pixel(s.X[i]))
				w.printf(`<line stroke="%s" stroke-opacity=".35" stroke-width="2" x1="%s" x2="%s" y1="%s" y2="%s"/>`, colour, p, p, px(y.pixel(s.Low[i])), px(y.pixel(s.High[i])))
			}
		}
	case Band:
		var up, down []string
		for i := range s.X {
			if drawable(s.X[i]) && drawable(s.Low[i]) && drawable(s.High[i]) {
				p := px(x.pixel(s.X[i]))
				up = append(up, p+" "+px(y.pixel(s.High[i])))
				down = append([]string{p + " " + px(y.pixel(s.Low[i]))}, down...)
			}
		}
		if len(up) > 1 {
			w.printf(`<path fill="%s" fill-opacity=".2" d="M%sZ"/>`, colour, strings.Join(append(up, down...), "L"))
		}
	default:
		w.line(s, x, y, colour)
	}
}

func (w *writer) line(s Series, x, y axis, colour string) {
	var d strings.Builder
	next := "M"
	for i := range s.X {
		if !drawable(s.X[i]) || !drawable(s.Y[i]) {
			next = "M"
			continue
		}
		d.WriteString(next + px(x.pixel(s.X[i])) + " " + px(y.pixel(s.Y[i])))
		next = "L"
	}
	if d.Len() > 0 {
		w.printf(`<path fill="none" stroke="%s" stroke-width="1.8" d="%s"/>`, colour, d.String())
	}
}

// legend lists the named series in one line below the title.
func (w *writer) legend(all []Series) {
	at := float64(left)
	for _, s := range all {
		if s.Name == "" {
			continue
		}
		w.printf(`<rect x="%s" y="%d" width="%d" height="4" fill="%s"/>`, px(at), top-14, keyWidth, s.Colour.hex())
		w.text(at+keyWidth+5, top-8, "start", "small", s.Name)
		at += keyWidth + 20 + letterWidth*float64(len([]rune(s.Name)))
	}
}

// px writes a coordinate with a tenth of a pixel.
func px(v float64) string {
	s := strconv.FormatFloat(v, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}

// number writes a tick.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'g', 6, 64)
	if v < 0 {
		return "−" + s[1:]
	}
	return s
}
