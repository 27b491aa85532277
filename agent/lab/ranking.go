package lab

import (
	"cmp"
	"slices"
)

// Ranking says how well scores put what is true above what is not, whatever the
// threshold.
type Ranking struct {
	// AUROC is the area under the ROC curve: the chance that a true row scores higher
	// than a false one, a tie counting half (J. A. Hanley and B. J. McNeil, Radiology 143
	// (1982) 29–36). 0.5 is chance.
	AUROC float64 `json:"auroc"`
	// AUPRC is the average precision Σ(Rₖ − Rₖ₋₁)·Pₖ over the distinct scores, from the
	// highest down: the area under the precision-recall curve as a staircase. A straight
	// line between its points would flatter (J. Davis and M. Goadrich, ICML 2006). Chance
	// has Share.
	AUPRC float64 `json:"auprc"`
	// Share of the rows that is true.
	Share float64 `json:"share"`

	// The curves: a point for each distinct score, from the highest down, after the
	// point at which nothing is called true.
	falseRate, trueRate, precision []float64
}

// rank returns the ranking of rows by scores; both slices are of the same length. Equal
// scores make one point, so no order among them helps. It is nil unless both kinds of
// row are there, and when a score is NaN.
func rank(scores []float64, truth []bool) *Ranking {
	order := make([]int, len(scores))
	positives := 0
	for i := range order {
		order[i] = i
		if scores[i] != scores[i] {
			return nil
		}
		if truth[i] {
			positives++
		}
	}
	negatives := len(scores) - positives
	if positives == 0 || negatives == 0 {
		return nil
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	r := &Ranking{Share: float64(positives) / float64(len(scores)), falseRate: []float64{0}, trueRate: []float64{0}, precision: []float64{1}}
	for i, tp, fp := 0, 0, 0; i < len(order); {
		tpBefore, fpBefore, score := tp, fp, scores[order[i]]
		for ; i < len(order) && scores[order[i]] == score; i++ {
			if truth[order[i]] {
				tp++
			} else {
				fp++
			}
		}
		precision := float64(tp) / float64(tp+fp)
		r.AUROC += float64(fp-fpBefore) * float64(tp+tpBefore) / 2
		r.AUPRC += float64(tp-tpBefore) * precision
		r.falseRate = append(r.falseRate, float64(fp)/float64(negatives))
		r.trueRate = append(r.trueRate, float64(tp)/float64(positives))
		r.precision = append(r.precision, precision)
	}
	r.AUROC /= float64(positives) * float64(negatives)
	r.AUPRC /= float64(positives)
	return r
}
