package decode

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// hexValue is a number inside bytes that a payload holds as hexadecimal text, such as
// the process data of IO-Link (IO-Link Interface and System Specification V1.1.3,
// chapter F.2: high byte first).
type hexValue struct {
	at, width int
	read      func([]byte) float64
}

var hexTypes = map[string]hexValue{
	"int8":    {width: 1, read: func(b []byte) float64 { return float64(int8(b[0])) }},
	"uint8":   {width: 1, read: func(b []byte) float64 { return float64(b[0]) }},
	"int16":   {width: 2, read: func(b []byte) float64 { return float64(int16(binary.BigEndian.Uint16(b))) }},
	"uint16":  {width: 2, read: func(b []byte) float64 { return float64(binary.BigEndian.Uint16(b)) }},
	"int32":   {width: 4, read: func(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) }},
	"uint32":  {width: 4, read: func(b []byte) float64 { return float64(binary.BigEndian.Uint32(b)) }},
	"float32": {width: 4, read: func(b []byte) float64 { return float64(math.Float32frombits(binary.BigEndian.Uint32(b))) }},
}

// maxHexBytes bounds where a value may stand; process data of IO-Link has 32 bytes.
const maxHexBytes = 1024

// parseHex reads Spec.Hex.
func parseHex(text string) (v hexValue, err error) {
	kind, at, ok := strings.Cut(text, "@")
	v, known := hexTypes[kind]
	if v.at, err = strconv.Atoi(at); !ok || !known || err != nil || v.at < 0 || v.at > maxHexBytes {
		return v, fmt.Errorf("%q is not a type and the place of its first byte; write it as int16@4, with int8, uint8, int16, uint16, int32, uint32 or float32", text)
	}
	return v, nil
}

// number reads the value from text, which may stand in quotes.
func (v *hexValue) number(text []byte) (float64, error) {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	from, to := 2*v.at, 2*(v.at+v.width)
	if len(text)%2 != 0 || to > len(text) {
		return 0, &Error{Malformed, fmt.Sprintf("payload holds %d digits where %d bytes in hexadecimal are expected; check path and hex against a payload", len(text), v.at+v.width)}
	}
	var b [4]byte
	if _, err := hex.Decode(b[:v.width], text[from:to]); err != nil {
		return 0, &Error{NotNumber, fmt.Sprintf("payload holds %q where hexadecimal digits are expected", clip(string(text)))}
	}
	return v.read(b[:v.width]), nil
}
