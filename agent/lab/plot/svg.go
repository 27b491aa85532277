package plot

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Size of a chart in its own units; it scales to the width of the page. A legend of more
// than one line makes it higher.
const (
	width                 = 640
	left, right           = 58, 12
	bottom, frameHeight   = 46, 304
	firstLegend           = 36 // of its text's foot
	legendLine            = 18
	keyWidth, letterWidth = 14, 6.4 // of the legend
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
	keys, lines := legend(c.Series)
	w := &writer{top: firstLegend + lines*legendLine}
	w.foot = w.top + frameHeight
	if c.Square {
		w.foot = w.top + width - left - right
	}
	height := w.foot + bottom
	x := newAxis(c.X, xs, left, width-right)
	y := newAxis(c.Y, ys, float64(w.foot), float64(w.top))
	w.printf(`<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`, width, height, html.EscapeString(c.Title))
	w.text(width/2, 16, "middle", "title", c.Title)
	w.axes(x, y, c)
	for _, m := range c.Marks {
		if p := x.pixel(m.X); drawable(m.X) && m.X >= x.from && m.X <= x.to {
			if m.Label == "" {
				w.printf(`<line class="mark faint" x1="%s" x2="%s" y1="%d" y2="%d"/>`, px(p), px(p), w.top, w.foot)
				continue
			}
			w.printf(`<line class="mark" x1="%s" x2="%s" y1="%d" y2="%d"/>`, px(p), px(p), w.top, w.foot)
			w.text(p+3, float64(w.top+10), "start", "small", m.Label)
		}
	}
	for _, s := range c.Series {
		w.series(s, x, y)
	}
	for _, k := range keys {
		if k.ring {
			w.printf(`<circle class="ring" cx="%s" cy="%d" r="5" stroke="%s"/>`, px(k.x+keyWidth/2), k.line*legendLine+firstLegend+2, k.colour)
			w.text(k.x+keyWidth+5, float64(k.line*legendLine+firstLegend+6), "start", "small", k.name)
			continue
		}
		w.printf(`<rect x="%s" y="%d" width="%d" height="4" fill="%s"/>`, px(k.x), k.line*legendLine+firstLegend, keyWidth, k.colour)
		w.text(k.x+keyWidth+5, float64(k.line*legendLine+firstLegend+6), "start", "small", k.name)
	}
	w.printf("</svg>")
	return template.HTML(w.String()) // all text is escaped above
}

type writer struct {
	strings.Builder
	top, foot int // of the frame
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

func (w *writer) text(x, y float64, anchor, class, s string) {
	w.printf(`<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, px(x), px(y), anchor, html.EscapeString(s))
}

func (w *writer) axes(x, y axis, c Chart) {
	for _, t := range x.ticks {
		p := px(x.pixel(t))
		w.printf(`<line class="grid" x1="%s" x2="%s" y1="%d" y2="%d"/>`, p, p, w.top, w.foot)
		w.text(x.pixel(t), float64(w.foot+16), "middle", "small", number(t))
	}
	for _, t := range y.ticks {
		p := px(y.pixel(t))
		w.printf(`<line class="grid" x1="%d" x2="%d" y1="%s" y2="%s"/>`, left, width-right, p, p)
		w.text(left-6, y.pixel(t)+4, "end", "small", number(t))
	}
	w.text((left+width-right)/2, float64(w.foot+38), "middle", "small", c.XLabel)
	w.printf(`<text class="small" transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`, (w.top+w.foot)/2, html.EscapeString(c.YLabel))
}

func (w *writer) series(s Series, x, y axis) {
	colour := s.Colour.hex()
	switch s.Style {
	case Points, Rings:
		look := `r="3" fill-opacity=".8" fill="` + colour + `"`
		if s.Style == Rings {
			look = `r="6" class="ring" stroke="` + colour + `"`
		}
		for i := range s.X {
			if !drawable(s.X[i]) || !drawable(s.Y[i]) {
				continue
			}
			w.printf(`<circle cx="%s" cy="%s" %s>`, px(x.pixel(s.X[i])), px(y.pixel(s.Y[i])), look)
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

// line leaves out points that lie on the one before, to within finest; so a curve of
// any length takes no more than the picture can show.
func (w *writer) line(s Series, x, y axis, colour string) {
	const finest = 0.3
	var d strings.Builder
	next := "M"
	lastX, lastY := 0.0, 0.0
	for i := range s.X {
		if !drawable(s.X[i]) || !drawable(s.Y[i]) {
			next = "M"
			continue
		}
		px1, py1 := x.pixel(s.X[i]), y.pixel(s.Y[i])
		if next == "L" && i+1 < len(s.X) && math.Abs(px1-lastX) < finest && math.Abs(py1-lastY) < finest {
			continue
		}
		d.WriteString(next + px(px1) + " " + px(py1))
		next, lastX, lastY = "L", px1, py1
	}
	if d.Len() > 0 {
		w.printf(`<path fill="none" stroke="%s" stroke-width="1.8" d="%s"/>`, colour, d.String())
	}
}

// key is one entry of a legend.
type key struct {
	x            float64
	line         int
	name, colour string
	ring         bool
}

// legend sets the named series below the title, in as many lines as they take.
func legend(all []Series) (keys []key, lines int) {
	at, lines := float64(left), 1
	for _, s := range all {
		if s.Name == "" {
			continue
		}
		wide := keyWidth + 20 + letterWidth*float64(len([]rune(s.Name)))
		if at > left && at+wide > width {
			at, lines = left, lines+1
		}
		keys = append(keys, key{at, lines - 1, s.Name, s.Colour.hex(), s.Style == Rings})
		at += wide
	}
	return keys, lines
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
