package agent

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/durable"
)

// conversions say, by machine and channel, how what a sensor sends becomes a number: its
// unit, scale, rate and what else changes every sample.
type conversions map[string]map[string]string

func (c *Config) conversions() conversions {
	all := conversions{}
	for _, m := range c.Machines {
		mine := map[string]string{}
		for _, ch := range m.messages() {
			d := ch.Decode
			mine[ch.Channel] = fmt.Sprint(ch.Unit, " ", d.Path, " ", d.Hex, " ", orOne(d.Scale), " ", d.Offset, " ", d.RateHz)
		}
		for _, ch := range m.Channels {
			if w := ch.Wiring; w.Bus != "" {
				mine[ch.Name] = fmt.Sprint(ch.Unit, " ", w.Element, " ", w.Axis, " ", w.Measure, " ", w.Input, " ", w.ShuntOhm, " ",
					number(w.At4mA), " ", number(w.At20mA), " ", ch.Decode.RateHz)
			}
		}
		all[m.Name] = mine
	}
	return all
}

// orOne is a scale as it is applied.
func orOne(scale float64) float64 {
	if scale == 0 {
		return 1
	}
	return scale
}

func number(p *float64) string {
	if p == nil {
		return ""
	}
	return fmt.Sprint(*p)
}

// changed names the machines of which a channel that was there before is converted in
// another way now, with those channels.
func (c conversions) changed(before conversions) map[string][]string {
	all := map[string][]string{}
	for machine, mine := range c {
		for _, channel := range slices.Sorted(maps.Keys(mine)) {
			if was, ok := before[machine][channel]; ok && was != mine[channel] {
				all[machine] = append(all[machine], channel)
			}
		}
	}
	return all
}

// begin keeps the conversions at path and lets each machine begin anew whose numbers do not
// mean what they meant: its baseline, windows, cycles and alarm are of the old ones.
func (c conversions) begin(path string, forget func(machine string) error, log *slog.Logger) {
	var before conversions
	known := durable.ReadChecked(path, log, func(body []byte) error {
		before = nil
		return json.Unmarshal(body, &before)
	})
	whole := true
	for machine, channels := range c.changed(before) {
		log.Warn("channels are converted in another way than before; the machine begins anew with its baseline", "machine", machine, "channels", channels)
		if err := forget(machine); err != nil {
			log.Error("what a machine learned from channels that have changed cannot be deleted", "machine", machine, "error", err)
			whole = false // tried again at the next start
		}
	}
	if !whole || known && maps.EqualFunc(c, before, maps.Equal) {
		return
	}
	body, err := json.Marshal(c)
	if err == nil {
		err = durable.WriteChecked(path, body)
	}
	if err != nil {
		log.Error("how channels are converted cannot be kept; a change will not be noticed", "error", err)
	}
}

// forgetMachine deletes what a machine learned.
func (a *Agent) forgetMachine(name string) error {
	a.journal.SetState(name, "", alarm.State{})
	return a.store.ForgetMachine(name)
}
