package decode

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unsafe"
)

// rate reads a sampling rate in Hz: a number, or text with a unit as in "800Hz".
func rate(text []byte) (float64, error) {
	if n := len(text); n >= 2 && text[0] == '"' {
		text = text[1 : n-1]
	}
	times := 1.0
	if rest, ok := bytes.CutSuffix(trim(text), []byte("Hz")); ok {
		if text, ok = bytes.CutSuffix(rest, []byte("k")); ok {
			times = 1000
		}
	}
	x, err := number(trim(text))
	return x * times, err
}

// number reads a plain or JSON scalar: 21.7, "21.7", true, NaN.
func number(text []byte) (float64, error) {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = trim(text[1 : n-1])
	}
	switch string(text) {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	if len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		return 0, &Error{NotNumber, "payload holds an object or array where a number is expected; use format json or json_array with a path"}
	}
	// The string is not kept: an error quotes a copy.
	x, err := strconv.ParseFloat(asString(text), 64)
	switch {
	case err == nil:
		return x, nil
	case errors.Is(err, strconv.ErrRange):
		return x, notFinite(x)
	}
	return 0, &Error{NotNumber, fmt.Sprintf("payload holds %q where a number is expected; check the path against a payload, or look at the sensor", clip(string(text)))}
}

// asString views b as a string without copying; it must not outlive b.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func trim(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	return b
}
