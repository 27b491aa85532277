package mqttsource

import (
	"errors"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// decode emits what a message says about the channels of its topic.
func (s *Source) decode(it *item, emit func(sensors.Block) error) error {
	rt, o := it.route, &s.outcome
	s.readings = rt.decoder.Decode(s.readings[:0], it.payload)
	defer func() { clear(s.readings) }()
	for i := range s.readings {
		r := &s.readings[i]
		if err := s.deliver(it, rt.feeds[r.Spec], r, emit); err != nil {
			return err
		}
	}
	if !o.emitted && o.reason == Absent && !rt.feeds[0].partial {
		s.complain.dropped(Absent, it.topic, rt.feeds[0], s.readings[0].Err)
	}
	if o.emitted && !it.retained && s.devices.seen(rt.device, it.arrived, o.delay, o.timed) {
		s.changed(rt.device)
	}
	return nil
}

// deliver emits what a message says about a channel.
func (s *Source) deliver(it *item, f *feed, r *decode.Reading, emit func(sensors.Block) error) error {
	if it.gap {
		f.gap = true
	}
	if r.Err != nil {
		reason := Malformed
		var de *decode.Error
		if errors.As(r.Err, &de) {
			reason = Reason(de.Reason)
		}
		s.refuse(it, f, reason, r.Lost, r.Err)
		return nil
	}
	if r.Unit != "" && r.Unit != f.said {
		if err := checkUnit(r.Unit, f.unit); err != nil {
			s.refuse(it, f, WrongUnit, len(r.Samples), err)
			return nil
		}
		f.said = r.Unit
	}
	for i, x := range r.Samples {
		x = f.unit.Base(x)
		if !(x >= f.low && x <= f.high) {
			reason, err := f.refuse(x)
			s.refuse(it, f, reason, len(r.Samples), err)
			return nil
		}
		r.Samples[i] = x
	}
	if r.Parts > 0 && !s.assemble(it, f, r) {
		return nil
	}
	b := sensors.Block{
		Machine: f.machine, Channel: f.channel, RateHz: r.RateHz, Samples: r.Samples, Quality: r.Quality,
	}
	if it.retained {
		b.Quality |= sensors.QualityRetained
		if age := it.arrived.Sub(r.Time); r.Time.IsZero() || age > s.opts.MaxRetainedAge {
			s.refuse(it, f, Retained, len(r.Samples), errors.New("message is from the broker's memory and has no recent time: it is not news; let the device publish without the retain flag if this is unwanted"))
			return nil
		}
	}
	if !s.setStart(&b, it, f, r) {
		s.refuse(it, f, Late, len(r.Samples), errors.New("older than what the channel already emitted, as after a redelivery; check the sender's clock if this goes on"))
		return nil
	}
	if f.gap {
		b.Quality |= sensors.QualityGap
		f.gap = false
	}
	if err := emit(b); err != nil {
		s.outcome.drop(Stopped, len(r.Samples))
		return err
	}
	s.outcome.emitted = true
	s.outcome.samplesEmitted += int64(len(r.Samples))
	return nil
}

// refuse books samples of a channel that are not emitted.
func (s *Source) refuse(it *item, f *feed, reason Reason, samples int, err error) {
	s.outcome.drop(reason, samples)
	switch reason {
	case Absent:
		return // a partial update is no fault; decode complains of a message with nothing at all
	case Late, Duplicate, Retained:
		// nothing new was lost
	default:
		f.gap = true
	}
	s.complain.dropped(reason, it.topic, f, err)
}

// setStart decides the time of b's first sample. It returns false for a block
// that comes too late to be in order.
func (s *Source) setStart(b *sensors.Block, it *item, f *feed, r *decode.Reading) bool {
	newest := f.newest
	b.Start = r.Time
	switch {
	case r.TimeErr != nil:
		b.Start = time.Time{}
		s.complain.badTime("unreadable", it.topic, f, r.TimeErr)
	case r.Time.IsZero():
	default:
		if !it.duplicate {
			s.outcome.delay, s.outcome.timed = it.arrived.Sub(r.Time.Add(b.Duration())), true
		}
		if !r.Time.Before(s.opts.Oldest) && r.Time.Sub(it.arrived) <= s.opts.MaxFuture {
			break
		}
		b.Start = time.Time{}
		b.Quality |= sensors.QualityRebased
		s.complain.badTime("unbelievable", it.topic, f,
			fmt.Errorf("payload says %s, the local clock %s; set the clock that is wrong", r.Time.Format(time.RFC3339), it.arrived.Format(time.RFC3339)))
	}
	if b.Start.IsZero() {
		// The last sample is as old as the message, the first one older by the
		// burst's length. Two bursts that arrive together must stay in order.
		if b.Quality&sensors.QualityRebased == 0 {
			b.Quality |= sensors.QualityArrivalTime
		}
		b.Start = it.arrived.Add(-b.Duration() - r.Ago)
		if back := newest.Sub(b.Start); back > 0 && back <= s.opts.MaxBackstep {
			b.Start = newest
		}
	}
	again := it.duplicate || it.retained // may be what was emitted already
	switch back := newest.Sub(b.Start); {
	case newest.IsZero() || back < 0 || back == 0 && !again:
	case back <= s.opts.MaxBackstep && b.Quality&(sensors.QualityArrivalTime|sensors.QualityRebased) == 0:
		return false
	case back > s.opts.MaxBackstep:
		b.Quality |= sensors.QualityGap
	}
	f.newest = b.Start
	return true
}

// spellings are the names of units in payloads that differ from sensors.ParseUnit:
// SenML's (RFC 8428, section 12.1) and Tasmota's.
var spellings = map[string]string{"Cel": "degC", "C": "degC", "F": "degF", "/": "1", "%RH": "%", "%EL": "%", "1/s": "Hz"}

// checkUnit reports a payload's unit that is not the channel's.
func checkUnit(says string, want sensors.Unit) error {
	symbol := says
	if s, ok := spellings[says]; ok {
		symbol = s
	}
	u, err := sensors.ParseUnit(symbol)
	if err == nil && u.Quantity == want.Quantity && u.Scale == want.Scale && u.Offset == want.Offset {
		return nil
	}
	if len(says) > 40 {
		says = says[:40]
	}
	return fmt.Errorf("payload says that its unit is %q, the channel that it is %q; correct the channel's unit", says, want.Symbol)
}
