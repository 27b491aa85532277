package swarm

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable prints r for people.
func (r *Result) WriteTable(out io.Writer) error {
	fmt.Fprintf(out, "%d agents over gRPC with mutual TLS, %d parameters; all ready after %.1f s\n\n", r.Agents, r.Params, r.ConnectS)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "round\tparticipants\tMB\ttransfer s\tclose s\tof it verify\taggregate\tstore\tcoordinator peak RSS MB\t")
	for _, x := range r.Rounds {
		fmt.Fprintf(w, "%d\t%d\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t\n", x.Round, x.Participants, float64(x.Bytes)/1e6,
			x.TransferS, x.CloseS, x.VerifyS, x.AggregateS, x.StoreS, float64(x.RSSBytes)/1e6)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\npeak RSS of the coordinator: %.0f MB\n", float64(r.PeakRSSBytes)/1e6)
	return err
}
