package decode

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millwright-iot/millwright/sensors"
)

// The data types that are read (chapter 6, "Data Types").
const (
	typeInt8 uint32 = iota + 1
	typeInt16
	typeInt32
	typeInt64
	typeUInt8
	typeUInt16
	typeUInt32
	typeUInt64
	typeFloat
	typeDouble

	typeInt8Array   uint32 = 22
	typeInt64Array  uint32 = 25
	typeUInt8Array  uint32 = 26
	typeUInt64Array uint32 = 29
	typeFloatArray  uint32 = 30
	typeDoubleArray uint32 = 31
)

// sparkplug is what births said about the metrics of one edge node or device.
type sparkplug struct {
	born    bool
	aliases map[uint64]meaning // of the metrics that a spec wants
	types   map[string]uint32  // their data types by name
	units   map[string]string  // their units, those that are units
	found   []bool             // of each spec, in the payload being read
}

type meaning struct {
	name     string
	datatype uint32
}

// Birth takes what the metrics of a birth (NBIRTH or DBIRTH) mean, in place of
// all that was known; Decode reads their values. Without a spec of format
// Sparkplug it does nothing. The error is an *Error.
func (d *Decoder) Birth(payload []byte) error {
	if d.edge == nil {
		return nil
	}
	d.Death()
	err := fields(payload, func(f field) error {
		if f.number != payloadMetrics || f.kind != protowire.BytesType {
			return nil
		}
		m, err := readMetric(f.bytes)
		if err != nil {
			return err
		}
		for i := range d.channels {
			if c := &d.channels[i]; c.Format == Sparkplug && c.Path == string(m.name) {
				d.edge.types[c.Path] = m.datatype
				// It is free text: what is no unit contradicts no channel.
				if unit := EngineeringUnit(m.properties); unit != "" {
					if _, err := sensors.ParseUnit(unit); err == nil {
						d.edge.units[c.Path] = unit
					}
				}
				if m.hasAlias {
					d.edge.aliases[m.alias] = meaning{c.Path, m.datatype}
				}
			}
		}
		return nil
	})
	d.edge.born = err == nil
	return err
}

// Death forgets what a birth said.
func (d *Decoder) Death() {
	if d.edge != nil {
		d.edge.born = false
		clear(d.edge.aliases)
		clear(d.edge.types)
		clear(d.edge.units)
	}
}

// metrics reads a Sparkplug payload for all specs of that format.
func (d *Decoder) metrics(dst []Reading, payload []byte) []Reading {
	e := d.edge
	e.found = append(e.found[:0], make([]bool, len(d.channels))...)
	before := len(dst)
	head, err := ReadSparkplugHead(payload, false)
	for rest := payload; err == nil && len(rest) > 0; {
		f, n := nextField(rest) // n is positive: the head was read to the end
		if rest = rest[n:]; f.number == payloadMetrics && f.kind == protowire.BytesType {
			dst, err = d.metric(dst, before, f.bytes, head.TimestampMilliseconds)
		}
	}
	if err != nil {
		dst = dst[:before]
	}
	for i := range d.channels {
		c := &d.channels[i]
		switch {
		case c.Format != Sparkplug:
		case err != nil:
			dst = append(dst, Reading{Spec: i, Err: err})
		case !e.found[i]:
			dst = append(dst, Reading{Spec: i, Err: c.absent})
		}
	}
	return dst
}

var errNoBirth = &Error{NoBirth, "metric has only an alias and no birth told its meaning; a rebirth is asked for: let this user publish to the edge node's NCMD topic if this goes on"}

func (d *Decoder) metric(dst []Reading, before int, message []byte, timestamp uint64) ([]Reading, error) {
	m, err := readMetric(message)
	if err != nil {
		return dst, err
	}
	e, name, datatype := d.edge, asString(m.name), m.datatype
	if m.hasAlias && len(m.name) == 0 {
		known, ok := e.aliases[m.alias]
		if !ok && e.born {
			return dst, nil // a metric nobody wants
		}
		if !ok {
			return dst, errNoBirth
		}
		name = known.name
		if datatype == 0 {
			datatype = known.datatype
		}
	}
	if m.timestamp != 0 {
		timestamp = m.timestamp
	}
	for i := range d.channels {
		c := &d.channels[i]
		if c.Format != Sparkplug || c.Path != name || m.null {
			continue
		}
		if datatype == 0 {
			datatype = e.types[c.Path]
		}
		if len(dst)-before >= maxReadings {
			return dst, &Error{Malformed, fmt.Sprintf("payload has over %d metrics of a name; send fewer", maxReadings)}
		}
		r := Reading{Spec: i, Unit: e.units[c.Path]}
		if timestamp != 0 {
			r.Time, _, r.TimeErr = unixTime(float64(timestamp), 1000)
		}
		d.metricValue(&r, c, &m, datatype)
		if r.Err != nil {
			r.Samples = nil
		}
		dst, e.found[i] = append(dst, r), true
	}
	return dst, nil
}

// metricValue reads a metric's value or array.
func (d *Decoder) metricValue(r *Reading, c *channel, m *metric, datatype uint32) {
	switch m.value {
	case metricInt, metricLong:
		if datatype == 0 {
			r.Err, r.Lost = &Error{NoBirth, "metric has no data type and no birth told it; wait for the edge node's next birth"}, 1
			return
		}
		d.one(r, c, integer(m.bits, datatype))
	case metricFloat:
		d.one(r, c, float64(math.Float32frombits(uint32(m.bits))))
	case metricDouble:
		d.one(r, c, math.Float64frombits(m.bits))
	case metricBoolean:
		d.one(r, c, float64(min(m.bits, 1)))
	case metricString:
		x, err := number(trim(m.bytes))
		if err != nil {
			r.Err, r.Lost = err, 1
			return
		}
		d.one(r, c, x)
	case metricBytes:
		d.metricArray(r, c, m.bytes, datatype)
	default:
		r.Err = &Error{NotNumber, "metric holds no number; name another metric"}
	}
}

// integer reads the bits of a Sparkplug integer, which carries signed numbers as
// two's complement in an unsigned field (chapter 6, "Data Types").
func integer(bits uint64, datatype uint32) float64 {
	switch datatype {
	case typeInt8:
		return float64(int8(bits))
	case typeInt16:
		return float64(int16(bits))
	case typeInt32:
		return float64(int32(bits))
	case typeInt64:
		return float64(int64(bits))
	}
	return float64(bits)
}

// metricArray reads an array metric, which is packed little-endian.
func (d *Decoder) metricArray(r *Reading, c *channel, raw []byte, datatype uint32) {
	var width int
	switch {
	case datatype >= typeInt8Array && datatype <= typeInt64Array:
		width = 1 << (datatype - typeInt8Array)
	case datatype >= typeUInt8Array && datatype <= typeUInt64Array:
		width = 1 << (datatype - typeUInt8Array)
	case datatype == typeFloatArray:
		width = 4
	case datatype == typeDoubleArray:
		width = 8
	default:
		r.Err = &Error{NotNumber, fmt.Sprintf("metric is bytes of data type %d, not an array of numbers; name another metric", datatype)}
		return
	}
	n := len(raw) / width
	switch {
	case n == 0 || len(raw)%width != 0:
		r.Err = &Error{Malformed, fmt.Sprintf("array of %d bytes is not a whole number of %d-byte numbers", len(raw), width)}
		return
	case c.RateHz == 0 && n > 1:
		r.Err, r.Lost = &Error{Malformed, "metric is an array; set rate_hz"}, n
		return
	}
	r.RateHz, r.Samples = c.RateHz, d.samples(n)[:n]
	for i := range r.Samples {
		x := element(raw[i*width:], datatype, width)*c.Scale + c.Offset
		if !(x >= c.min && x <= c.max) {
			r.Err, r.Lost = c.refuse(x), n
			return
		}
		r.Samples[i] = x
	}
}

func element(b []byte, datatype uint32, width int) float64 {
	var bits uint64
	switch width {
	case 1:
		bits = uint64(b[0])
	case 2:
		bits = uint64(binary.LittleEndian.Uint16(b))
	case 4:
		bits = uint64(binary.LittleEndian.Uint32(b))
	default:
		bits = binary.LittleEndian.Uint64(b)
	}
	switch {
	case datatype == typeFloatArray:
		return float64(math.Float32frombits(uint32(bits)))
	case datatype == typeDoubleArray:
		return math.Float64frombits(bits)
	case datatype <= typeInt64Array:
		return integer(bits, datatype-typeInt8Array+typeInt8)
	}
	return float64(bits)
}

// SparkplugRebirth is the payload of the NCMD that asks an edge node to be born
// again (chapter 6, "NCMD"): one boolean metric "Node Control/Rebirth".
func SparkplugRebirth(now time.Time) []byte {
	ms := uint64(now.UnixMilli())
	const boolean = 11
	var m []byte
	m = protowire.AppendString(protowire.AppendTag(m, metricName, protowire.BytesType), "Node Control/Rebirth")
	m = protowire.AppendVarint(protowire.AppendTag(m, metricTimestamp, protowire.VarintType), ms)
	m = protowire.AppendVarint(protowire.AppendTag(m, metricDatatype, protowire.VarintType), boolean)
	m = protowire.AppendVarint(protowire.AppendTag(m, metricBoolean, protowire.VarintType), 1)
	p := protowire.AppendVarint(protowire.AppendTag(nil, payloadTimestamp, protowire.VarintType), ms)
	return protowire.AppendBytes(protowire.AppendTag(p, payloadMetrics, protowire.BytesType), m)
}
