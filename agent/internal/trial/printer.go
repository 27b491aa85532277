package trial

import (
	"fmt"
	"io"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors/window"
)

// printer prints what a machine does. It implements pipeline.Listener and Tracer.
type printer struct {
	out io.Writer
}

// Window implements pipeline.Tracer.
func (p *printer) Window(machine string, w *window.Window, names []string, vector []float64, err error) {
	fmt.Fprintf(p.out, "%s window %s to %s%s\n", machine, w.Start.UTC().Format(time.RFC3339Nano), w.End.UTC().Format(time.RFC3339Nano), doubts(w.Quality))
	for _, s := range w.Segments {
		fmt.Fprintf(p.out, "  %s: %d samples\n", s.Channel, len(s.Samples))
	}
	if err != nil {
		fmt.Fprintf(p.out, "  no features: %v\n", err)
		return
	}
	for i, name := range names {
		fmt.Fprintf(p.out, "  %s = %s\n", name, number(vector[i]))
	}
}

// Scored implements pipeline.Listener.
func (p *printer) Scored(_ string, _ job.Spec, out *infer.Output) {
	if out.State == infer.Baseline {
		fmt.Fprintf(p.out, "  baseline %d of %d\n", out.Have, out.Want)
		return
	}
	if out.State == infer.Off {
		fmt.Fprintln(p.out, "  the machine is off")
		return
	}
	fmt.Fprintf(p.out, "  score %s, zone %s", number(out.Score), out.Zone)
	for _, r := range out.Reasons {
		fmt.Fprintf(p.out, ", %s %.0f %%", r.Feature, 100*r.Share)
	}
	fmt.Fprintln(p.out)
}

// Alarm implements pipeline.Listener.
func (p *printer) Alarm(_ string, _ job.Spec, out *infer.Output, st alarm.State) {
	if st.Active {
		fmt.Fprintf(p.out, "  ALARM, zone %s\n", st.Zone)
	} else if out.Change == alarm.Cleared {
		fmt.Fprintln(p.out, "  alarm ends")
	}
}
