package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// The payloads a vibration burst can have.
const (
	// 8 bytes: time of the first sample, little-endian double, Unix seconds
	// (header unix_f64 in package decode); then the samples.
	formatFloat32Time = "float32_time"
	// The samples alone, little-endian float32 in m/s².
	formatFloat32 = "float32"
	// {"t":…,"rate_hz":…,"samples":[…]}
	formatJSON = "json"
)

// unixSeconds is t as the payloads carry it; a double resolves a quarter of a
// microsecond until 2038.
func unixSeconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

func appendSeconds(dst []byte, t time.Time) []byte {
	return strconv.AppendFloat(dst, unixSeconds(t), 'f', 6, 64)
}

// encodeBurst writes a run of samples as format says.
func encodeBurst(b sensors.Block, format string) ([]byte, error) {
	switch format {
	case formatFloat32Time, formatFloat32:
		out := make([]byte, 0, 8+4*len(b.Samples))
		if format == formatFloat32Time {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(unixSeconds(b.Start)))
		}
		for _, x := range b.Samples {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(x)))
		}
		return out, nil
	case formatJSON:
		out := make([]byte, 0, 64+12*len(b.Samples))
		out = appendSeconds(append(out, `{"t":`...), b.Start)
		out = strconv.AppendFloat(append(out, `,"rate_hz":`...), b.RateHz, 'g', -1, 64)
		out = append(out, `,"samples":[`...)
		for i, x := range b.Samples {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendFloat(out, x, 'g', -1, 32)
		}
		return append(out, "]}"...), nil
	}
	return nil, fmt.Errorf("unknown vibration format %q; one of %s, %s, %s", format, formatFloat32Time, formatFloat32, formatJSON)
}

// encodeScalar writes one value: {"t":…,"value":…}.
func encodeScalar(b sensors.Block) []byte {
	out := appendSeconds([]byte(`{"t":`), b.Start)
	out = strconv.AppendFloat(append(out, `,"value":`...), b.Samples[0], 'g', 9, 64)
	return append(out, '}')
}
