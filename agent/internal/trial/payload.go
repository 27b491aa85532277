package trial

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// payload tries one payload on every channel.
func (t *Trial) payload(path string, data []byte) error {
	fmt.Fprintf(t.out, "%s: %d bytes\n", path, len(data))
	end := t.clock
	for _, ch := range t.channels {
		if ch.Decode.Format == decode.Sparkplug {
			ch.birth(data)
		}
		for _, r := range ch.decoder.Decode(nil, data) {
			if at := t.reading(ch, &r); at.After(end) {
				end = at
			}
		}
	}
	t.clock = t.clock.Add(max(t.opts.Every, end.Sub(t.clock)))
	return nil
}

// birth takes a Sparkplug birth, which names what later messages number: the first
// payload of a channel, or one of a node's birth.
func (ch *channel) birth(data []byte) {
	h, err := decode.ReadSparkplugHead(data, true)
	if err != nil || ch.born && !h.HasBdSeq {
		return
	}
	ch.born = ch.decoder.Birth(data) == nil
}

// reading prints what a payload says about a channel, and hands it to the machine. It
// returns the end of what arrived now.
func (t *Trial) reading(ch *channel, r *decode.Reading) (end time.Time) {
	name := ch.Machine + "/" + ch.Channel.Channel
	if r.Err != nil {
		fmt.Fprintf(t.out, "  %s: nothing: %v\n", name, r.Err)
		return end
	}
	b := sensors.Block{Machine: ch.Machine, Channel: ch.Channel.Channel, Start: r.Time, RateHz: r.RateHz, Quality: r.Quality}
	b.Samples = make([]float64, len(r.Samples))
	for i, x := range r.Samples {
		b.Samples[i] = ch.Unit.Base(x)
	}
	when := "by its own time"
	switch {
	case r.TimeErr != nil:
		when = fmt.Sprintf("by arrival, as its time cannot be read: %v", r.TimeErr)
	case r.Time.IsZero() && r.Ago != 0:
		when = fmt.Sprintf("%v before arrival, by its relative time", r.Ago)
	case r.Time.IsZero():
		when = "by arrival, as it tells no time"
	}
	if r.Time.IsZero() {
		b.Start = t.clock.Add(-r.Ago)
		b.Quality |= sensors.QualityArrivalTime
		end = b.Start.Add(b.Duration())
	}
	fmt.Fprintf(t.out, "  %s: %d samples%s from %s, %s%s\n", name, len(b.Samples), rate(b.RateHz), b.Start.UTC().Format(time.RFC3339Nano), when, doubts(b.Quality))
	if r.Unit != "" && r.Unit != ch.Unit.Symbol {
		fmt.Fprintf(t.out, "    the payload says its unit is %q, the configuration %q: the agent refuses it unless they are the same unit\n", r.Unit, ch.Unit.Symbol)
	}
	fmt.Fprintf(t.out, "    as written  %s\n    converted   %s\n", describe(r.Samples, ch.Unit.Symbol), describe(b.Samples, ch.Unit.Quantity.BaseUnit()))
	if r.Parts > 0 {
		fmt.Fprintf(t.out, "    part %d of %d of burst %d: the agent joins parts before it goes on; here it is not gone on with\n", r.Part+1, r.Parts, r.Burst)
		t.samples += len(b.Samples)
		return end
	}
	if err := b.Validate(); err != nil {
		fmt.Fprintf(t.out, "    refused: %v\n", err)
		return end
	}
	t.samples += len(b.Samples)
	t.machines[ch.Machine].run(b)
	return end
}

func rate(hz float64) string {
	if hz == 0 {
		return ""
	}
	return fmt.Sprintf(" at %v Hz", hz)
}

// describe prints the first samples and, of several, their range and mean.
func describe(x []float64, unit string) string {
	var b strings.Builder
	for i, v := range x {
		if i == 6 {
			b.WriteString("… ")
			break
		}
		b.WriteString(number(v) + " ")
	}
	b.WriteString(unit)
	if len(x) > 1 {
		sum := 0.0
		for _, v := range x {
			sum += v / float64(len(x))
		}
		fmt.Fprintf(&b, " (smallest %s, largest %s, mean %s)", number(slices.Min(x)), number(slices.Max(x)), number(sum))
	}
	return b.String()
}

func number(x float64) string {
	if math.Abs(x) < 1e-9 {
		x = 0
	}
	return strconv.FormatFloat(x, 'g', 6, 64)
}

var qualities = []struct {
	bit  sensors.Quality
	name string
}{
	{sensors.QualityRebased, "clock unusable"}, {sensors.QualityGap, "samples lost before"}, {sensors.QualityClipped, "clipped: at the converter's limit"},
	{sensors.QualityRetained, "retained"}, {sensors.QualityZoneAssumed, "time without zone taken as UTC"},
}

func doubts(q sensors.Quality) string {
	out := ""
	for _, k := range qualities {
		if q&k.bit != 0 {
			out += "; " + k.name
		}
	}
	return out
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func nonZero(m map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range m {
		if v != 0 {
			out[k] = v
		}
	}
	return out
}
