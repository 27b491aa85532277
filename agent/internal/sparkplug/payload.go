package sparkplug

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Data types of metrics (Eclipse Sparkplug 3.0.0, section 6.4.16).
const (
	typeInt64   = 4
	typeDouble  = 10
	typeBoolean = 11
	typeString  = 12
)

// Field numbers of org.eclipse.tahu.protobuf.Payload and its Metric (sparkplug_b.proto).
const (
	payloadTimestamp = 1
	payloadMetrics   = 2
	payloadSeq       = 3

	metricName       = 1
	metricTimestamp  = 3
	metricDatatype   = 4
	metricIsNull     = 7
	metricProperties = 9
	metricLong       = 11
	metricDouble     = 13
	metricBoolean    = 14
	metricString     = 15

	propertyKeys   = 1 // of a PropertySet
	propertyValues = 2
	propertyType   = 1 // of a PropertyValue
	propertyString = 8
)

// metric is a named value: an int64, float64, bool or string. null says that there is
// none yet; value then tells only the type.
type metric struct {
	name  string
	at    time.Time
	value any
	null  bool
	unit  string // told as the property engUnit; empty for none
}

// noSeq is the sequence number of a payload that has none.
const noSeq = -1

// appendPayload encodes a payload. A seq of noSeq is left out, as in a death.
func appendPayload(dst []byte, at time.Time, seq int, metrics []metric) []byte {
	dst = appendVarint(dst, payloadTimestamp, milliseconds(at))
	var one []byte
	for _, m := range metrics {
		one = m.append(one[:0])
		dst = protowire.AppendTag(dst, payloadMetrics, protowire.BytesType)
		dst = protowire.AppendBytes(dst, one)
	}
	if seq != noSeq {
		dst = appendVarint(dst, payloadSeq, uint64(seq))
	}
	return dst
}

func (m metric) append(dst []byte) []byte {
	dst = appendText(dst, metricName, m.name)
	dst = appendVarint(dst, metricTimestamp, milliseconds(m.at))
	switch v := m.value.(type) {
	case int64:
		dst = appendVarint(dst, metricDatatype, typeInt64)
		if !m.null {
			dst = appendVarint(dst, metricLong, uint64(v))
		}
	case float64:
		dst = appendVarint(dst, metricDatatype, typeDouble)
		if !m.null {
			dst = protowire.AppendTag(dst, metricDouble, protowire.Fixed64Type)
			dst = protowire.AppendFixed64(dst, math.Float64bits(v))
		}
	case bool:
		dst = appendVarint(dst, metricDatatype, typeBoolean)
		if !m.null {
			dst = appendVarint(dst, metricBoolean, protowire.EncodeBool(v))
		}
	case string:
		dst = appendVarint(dst, metricDatatype, typeString)
		if !m.null {
			dst = appendText(dst, metricString, v)
		}
	}
	if m.null {
		dst = appendVarint(dst, metricIsNull, 1)
	}
	if m.unit != "" {
		value := appendText(appendVarint(nil, propertyType, typeString), propertyString, m.unit)
		set := appendText(appendText(nil, propertyKeys, "engUnit"), propertyValues, string(value))
		dst = appendText(dst, metricProperties, string(set))
	}
	return dst
}

func appendVarint(dst []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendText(dst []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

// milliseconds is how Sparkplug writes a time; what lies before 1970 is 0.
func milliseconds(t time.Time) uint64 {
	return uint64(max(0, t.UnixMilli()))
}

// asksRebirth reports whether a command's payload sets the metric Node Control/Rebirth
// to true. A payload that is no Sparkplug asks for nothing.
func asksRebirth(payload []byte) bool {
	asked := false
	ok := EachField(payload, func(number protowire.Number, _ uint64, bytes []byte) {
		if number == payloadMetrics {
			asked = asked || rebirthMetric(bytes)
		}
	})
	return ok && asked
}

func rebirthMetric(message []byte) bool {
	name, value := "", false
	ok := EachField(message, func(number protowire.Number, bits uint64, bytes []byte) {
		switch number {
		case metricName:
			name = string(bytes)
		case metricBoolean:
			value = bits != 0
		}
	})
	return ok && name == rebirth && value
}

// EachField visits the fields of a message, with their bits or bytes, and reports
// whether it was well formed.
func EachField(b []byte, visit func(number protowire.Number, bits uint64, bytes []byte)) bool {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var bits uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			bits, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return false
		}
		b = b[n:]
		visit(number, bits, bytes)
	}
	return true
}
