package lab

import (
	"fmt"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// curve is one ranking in a chart, with the point at which its alarm or answer works. A
// rule that gives no scores has the point only.
type curve struct {
	name    string
	ranking *Ranking
	at      *Confusion // nil for no point
}

// rankingCharts draws ROC and precision-recall curves, beside what guessing reaches.
// Curves without a ranking are left out; without any there is no chart.
func rankingCharts(about string, curves []curve) []plot.Chart {
	unit := plot.Range{Min: 0, Max: 1}
	roc := plot.Chart{Title: about + ": ROC", XLabel: "false alarm rate", YLabel: "share of true rows found", X: unit, Y: unit, Square: true,
		Series: []plot.Series{{Name: "guessing, area 0.500", Colour: plot.Grey, X: []float64{0, 1}, Y: []float64{0, 1}}}}
	pr := plot.Chart{Title: about + ": precision and recall", XLabel: "recall", YLabel: "precision", X: unit, Y: unit, Square: true}
	share, drawn := -1.0, 0
	colours := []plot.Colour{plot.Blue, plot.Orange, plot.Green, plot.Red, plot.Purple}
	var points [2][]plot.Series
	for _, c := range curves {
		r := c.ranking
		if r == nil && c.at != nil && c.at.Said() > 0 {
			points[0] = append(points[0], plot.Series{Name: c.name, Style: plot.Rings, Colour: plot.Grey, X: []float64{c.at.FAR()}, Y: []float64{c.at.Recall()}, Titles: []string{c.name}})
			points[1] = append(points[1], plot.Series{Name: c.name, Style: plot.Rings, Colour: plot.Grey, X: []float64{c.at.Recall()}, Y: []float64{c.at.Precision()}, Titles: []string{c.name}})
		}
		if r == nil {
			continue
		}
		colour := colours[drawn%len(colours)]
		drawn++
		if r.Share != share { // one for each class
			share = r.Share
			pr.Series = append(pr.Series, plot.Series{Name: fmt.Sprintf("guessing, area %.3f", share), Colour: plot.Grey, X: []float64{0, 1}, Y: []float64{share, share}})
		}
		roc.Series = append(roc.Series, plot.Series{Name: fmt.Sprintf("%s, area %.3f", c.name, r.AUROC), Colour: colour, X: r.falseRate, Y: r.trueRate})
		x, y := staircase(r.trueRate, r.precision)
		pr.Series = append(pr.Series, plot.Series{Name: fmt.Sprintf("%s, area %.3f", c.name, r.AUPRC), Colour: colour, X: x, Y: y})
		if c.at == nil {
			continue
		}
		title := []string{c.name + ": where it works"}
		points[0] = append(points[0], plot.Series{Style: plot.Rings, Colour: colour, X: []float64{c.at.FAR()}, Y: []float64{c.at.Recall()}, Titles: title})
		points[1] = append(points[1], plot.Series{Style: plot.Rings, Colour: colour, X: []float64{c.at.Recall()}, Y: []float64{c.at.Precision()}, Titles: title})
	}
	if share < 0 {
		return nil
	}
	roc.Series, pr.Series = append(roc.Series, points[0]...), append(pr.Series, points[1]...)
	return []plot.Chart{roc, pr}
}

// staircase is the curve whose area is the average precision: the precision of a point
// holds back to the recall of the point before.
func staircase(recall, precision []float64) (x, y []float64) {
	for i := 1; i < len(recall); i++ {
		x = append(x, recall[i-1], recall[i])
		y = append(y, precision[i], precision[i])
	}
	return x, y
}
