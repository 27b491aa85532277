package decode

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of org.eclipse.tahu.protobuf.Payload and its Metric (Eclipse
// Sparkplug 3.0.0, chapter 6, "Google Protocol Buffer Schema").
const (
	payloadTimestamp protowire.Number = 1
	payloadMetrics   protowire.Number = 2
	payloadSeq       protowire.Number = 3

	metricName       protowire.Number = 1
	metricAlias      protowire.Number = 2
	metricTimestamp  protowire.Number = 3
	metricDatatype   protowire.Number = 4
	metricIsNull     protowire.Number = 7
	metricProperties protowire.Number = 9
	metricInt        protowire.Number = 10
	metricLong       protowire.Number = 11
	metricFloat      protowire.Number = 12
	metricDouble     protowire.Number = 13
	metricBoolean    protowire.Number = 14
	metricString     protowire.Number = 15
	metricBytes      protowire.Number = 16

	propertyKeys   protowire.Number = 1 // of a PropertySet: as many keys as values
	propertyValues protowire.Number = 2
	propertyString protowire.Number = 8 // of a PropertyValue
)

// SparkplugHead is what a Sparkplug B payload says about its edge node's session.
type SparkplugHead struct {
	TimestampMilliseconds uint64 // zero if absent
	Seq                   uint64 // sequence number, if HasSeq
	BdSeq                 uint64 // birth/death sequence number, if HasBdSeq
	HasSeq, HasBdSeq      bool
}

// ReadSparkplugHead reads the head of a payload; bdSeq only when asked for, as
// it is a metric of NBIRTH and NDEATH payloads. The error is an *Error.
func ReadSparkplugHead(payload []byte, bdSeq bool) (SparkplugHead, error) {
	var h SparkplugHead
	err := fields(payload, func(f field) error {
		switch {
		case f.number == payloadTimestamp && f.kind == protowire.VarintType:
			h.TimestampMilliseconds = f.bits
		case f.number == payloadSeq && f.kind == protowire.VarintType:
			h.Seq, h.HasSeq = f.bits, true
		case f.number == payloadMetrics && f.kind == protowire.BytesType && bdSeq:
			m, err := readMetric(f.bytes)
			if err != nil {
				return err
			}
			if string(m.name) == "bdSeq" {
				h.BdSeq, h.HasBdSeq = m.bits, true
			}
		}
		return nil
	})
	return h, err
}

// field is one field of a message: bits of a number, or bytes.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bits   uint64
	bytes  []byte
}

// fields calls visit for each field of a message.
func fields(message []byte, visit func(field) error) error {
	for len(message) > 0 {
		f, n := nextField(message)
		if n < 0 {
			return &Error{Malformed, fmt.Sprintf("payload is not Sparkplug B: %v; check the topic's namespace and format", protowire.ParseError(n))}
		}
		if err := visit(f); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// nextField returns the first field and its length, which is negative for what
// is no field.
func nextField(b []byte) (field, int) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, n
	}
	f := field{number: number, kind: kind}
	var m int
	switch kind {
	case protowire.VarintType:
		f.bits, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed32Type:
		var v uint32
		v, m = protowire.ConsumeFixed32(b[n:])
		f.bits = uint64(v)
	case protowire.Fixed64Type:
		f.bits, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		f.bytes, m = protowire.ConsumeBytes(b[n:])
	default:
		m = protowire.ConsumeFieldValue(number, kind, b[n:])
	}
	if m < 0 {
		return field{}, m
	}
	return f, n + m
}

// metric is one metric of a payload; its slices are parts of the payload.
type metric struct {
	name       []byte
	alias      uint64
	hasAlias   bool
	timestamp  uint64 // milliseconds, zero if absent
	datatype   uint32 // zero if absent
	null       bool
	value      protowire.Number // which value it has, zero for none
	bits       uint64
	bytes      []byte
	properties []byte // a PropertySet, nil for none
}

func readMetric(message []byte) (metric, error) {
	var m metric
	for len(message) > 0 {
		f, n := nextField(message)
		if n < 0 {
			return m, &Error{Malformed, fmt.Sprintf("payload is not Sparkplug B: a metric is broken: %v", protowire.ParseError(n))}
		}
		message = message[n:]
		switch {
		case f.number == metricName && f.kind == protowire.BytesType:
			m.name = f.bytes
		case f.number == metricAlias && f.kind == protowire.VarintType:
			m.alias, m.hasAlias = f.bits, true
		case f.number == metricTimestamp && f.kind == protowire.VarintType:
			m.timestamp = f.bits
		case f.number == metricDatatype && f.kind == protowire.VarintType:
			m.datatype = uint32(f.bits)
		case f.number == metricIsNull && f.kind == protowire.VarintType:
			m.null = f.bits != 0
		case f.number == metricProperties && f.kind == protowire.BytesType:
			m.properties = f.bytes
		case f.number == metricInt && f.kind == protowire.VarintType,
			f.number == metricLong && f.kind == protowire.VarintType,
			f.number == metricBoolean && f.kind == protowire.VarintType,
			f.number == metricFloat && f.kind == protowire.Fixed32Type,
			f.number == metricDouble && f.kind == protowire.Fixed64Type:
			m.value, m.bits = f.number, f.bits
		case f.number >= metricString && f.number <= 19 && f.kind == protowire.BytesType:
			m.value, m.bytes = f.number, f.bytes
		}
	}
	return m, nil
}

// EngineeringUnit returns the unit that the properties of a metric name under engUnit,
// the key that hosts and edge nodes agree on; empty if they name none or are no
// PropertySet.
func EngineeringUnit(properties []byte) string {
	var keys, values [][]byte
	err := fields(properties, func(f field) error {
		switch {
		case f.kind != protowire.BytesType:
		case f.number == propertyKeys:
			keys = append(keys, f.bytes)
		case f.number == propertyValues:
			values = append(values, f.bytes)
		}
		return nil
	})
	unit := ""
	for i := range keys {
		if err != nil || i >= len(values) || string(keys[i]) != "engUnit" {
			continue
		}
		if fields(values[i], func(f field) error {
			if f.number == propertyString && f.kind == protowire.BytesType {
				unit = string(f.bytes)
			}
			return nil
		}) != nil {
			return ""
		}
	}
	return unit
}
