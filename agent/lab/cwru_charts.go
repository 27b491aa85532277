package lab

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/agent/lab/plot"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/dsp"
)

// charts draws the spectrum of the envelope with the lines of the damaged part: for the
// smallest fault of each part, and for each bearing that the rule gets wrong.
func (c *cwruEvaluation) charts() error {
	var show []*CWRURecording
	for _, part := range cwruClasses {
		var smallest *CWRURecording
		for i := range c.recordings {
			if r := &c.recordings[i]; r.Part == part && (smallest == nil || r.Mil < smallest.Mil) {
				smallest = r
			}
		}
		show = append(show, smallest)
	}
	shown := map[string]bool{}
	for _, r := range show {
		shown[r.Bearing] = true
	}
	for i := range c.recordings {
		if r := &c.recordings[i]; c.wrong[r.Bearing] && !shown[r.Bearing] {
			shown[r.Bearing] = true
			show = append(show, r)
		}
	}
	entry, err := bearing.Lookup(cwruBearing)
	if err != nil {
		return err
	}
	for _, r := range show {
		chart, err := r.spectrumChart(entry.Geometry)
		if err != nil {
			return err
		}
		if c.wrong[r.Bearing] {
			chart.Title += " (called wrongly)"
		}
		c.report.charts = append(c.report.charts, chart)
	}
	return nil
}

// spectrumChart is the mean over all frames and bands, in dB of the envelope's mean square.
func (r *CWRURecording) spectrumChart(b bearing.Geometry) (plot.Chart, error) {
	e, err := r.envelope(b, cwruLayouts()[0], cwruWindow)
	if err != nil {
		return plot.Chart{}, err
	}
	n := dsp.GoodLength(cwruWindow)
	for lo := 0; lo+n <= len(r.Samples); lo += n {
		e.Add(r.Samples[lo : lo+n])
	}
	s := plot.Series{Colour: plot.Blue}
	for k := 1; k < len(e.Spectrum(0)); k++ {
		p := 0.0
		for i := range e.Bands() {
			p += e.Spectrum(i)[k] / float64(e.Bands()*max(e.Frames(), 1))
		}
		s.X, s.Y = append(s.X, float64(k)*e.BinHz()), append(s.Y, 10*math.Log10(max(p, 1e-12)))
	}
	line := map[bearing.Part]struct {
		name       string
		times      int // of the name's frequency in the first harmonic
		hz, sideHz float64
	}{
		bearing.OuterRace: {"BPFO", 1, b.BPFO(r.ShaftHz), 0},
		bearing.InnerRace: {"BPFI", 1, b.BPFI(r.ShaftHz), r.ShaftHz},
		bearing.Ball:      {"BSF", 2, 2 * b.BSF(r.ShaftHz), b.FTF(r.ShaftHz)},
	}[r.Part]
	chart := plot.Chart{
		Title:  fmt.Sprintf("%s: %s, %d mil", r.Name, r.Part, r.Mil),
		XLabel: "frequency of the squared envelope, Hz", YLabel: "dB of its mean square", Series: []plot.Series{s},
	}
	for h := 1; h <= dsp.Harmonics; h++ {
		label := line.name
		if h*line.times > 1 {
			label = fmt.Sprintf("%d×%s", h*line.times, line.name)
		}
		at := float64(h) * line.hz
		chart.Marks = append(chart.Marks, plot.Mark{X: at, Label: label})
		if line.sideHz > 0 {
			chart.Marks = append(chart.Marks, plot.Mark{X: at - line.sideHz}, plot.Mark{X: at + line.sideHz})
		}
	}
	return chart, nil
}
