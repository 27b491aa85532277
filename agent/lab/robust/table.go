package robust

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable prints r for a person: accuracy in per cent without and with
// verification, and whom verification caught.
func (r Result) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d gateways, %d of them lie, %d rounds; accuracy in %% on unseen rows (guessing: 25), without → with verification\n\n",
		r.Gateways, r.Attackers, r.Rounds)
	b.WriteString("attack\t" + strings.Join(r.Strategies, "\t") + "\tcaught\twronged\n")
	for _, row := range r.Rows {
		b.WriteString(row.Attack)
		caught, wronged := r.Attackers, 0
		for _, c := range row.Cells {
			fmt.Fprintf(&b, "\t%s → %s", c.Without.percent(r.Rounds), c.With.percent(r.Rounds))
			caught, wronged = min(caught, c.With.Caught), max(wronged, c.With.Wronged)
		}
		fmt.Fprintf(&b, "\t%d\t%d\n", caught, wronged)
	}
	b.WriteString("\n–: every round was lost. caught: liars in quarantine in the end, the fewest under any strategy; wronged: honest ones, the most.\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "%s: %s.\n", row.Attack, row.Help)
	}
	r.Lookalike.write(&b)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	return out.Flush()
}

func (o Outcome) percent(rounds int) string {
	if o.Lost == rounds {
		return "–"
	}
	return fmt.Sprintf("%.0f", 100*o.Accuracy)
}
