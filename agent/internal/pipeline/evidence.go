package pipeline

import (
	"slices"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/sensors/bearing"
)

// bearingAt is where in a vector the lines of a channel's bearing stand.
type bearingAt struct {
	channel            string
	outer, inner, ball int
}

// bearings finds the channels that have all three features among names, which are
// "channel.feature".
func bearings(channels, names []string) []bearingAt {
	var all []bearingAt
	for _, c := range channels {
		b := bearingAt{c, slices.Index(names, c+".bpfo_snr"), slices.Index(names, c+".bpfi_snr"), slices.Index(names, c+".bsf_snr")}
		if b.outer >= 0 && b.inner >= 0 && b.ball >= 0 {
			all = append(all, b)
		}
	}
	return all
}

// evidence is what the bearings say, of the channel on which a line stands highest;
// nil if no such features are computed. The next call overwrites it.
func (f *front) evidence(vector []float64) *infer.Evidence {
	if len(f.bearings) == 0 {
		return nil
	}
	found := &f.found
	*found = infer.Evidence{}
	highest := 0.0
	for _, b := range f.bearings {
		e := bearing.Evidence{OuterDB: vector[b.outer], InnerDB: vector[b.inner], BallDB: vector[b.ball]}
		if top := max(e.OuterDB, e.InnerDB, e.BallDB); found.Channel == "" || top > highest {
			highest = top
			v := e.Accuse(0)
			*found = infer.Evidence{Channel: b.channel, Part: string(v.Part), OuterRaceDB: e.OuterDB, InnerRaceDB: e.InnerDB, BallDB: e.BallDB}
			if v.Eliminated {
				found.Part = infer.NoPart
			}
		}
	}
	return found
}
