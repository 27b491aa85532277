// Package compress makes updates small for the wire.
//
// A job lists methods in order of preference, an agent uses the first one it
// knows: [Choose]. [Encode] makes the bytes, [Decode] reads them, and plain
// ones as well. Whatever the method, the result passes through zstd.
package compress

import (
	"slices"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// Method says how numbers are made smaller.
type Method string

// The methods, with the bytes each takes for a float32 before zstd.
const (
	// Zstd is lossless.
	Zstd Method = "zstd"
	// Float16 rounds to 11 bits of mantissa: 2 bytes.
	Float16 Method = "float16"
	// Int8 rounds to 255 levels up or down at random, so that the mean over many
	// updates is right: 1 byte.
	Int8 Method = "int8"
	// Int4 is the same with 15 levels: half a byte.
	Int4 Method = "int4"
	// TopK sends the largest hundredth of the numbers. What it leaves out, the
	// residual, is added to the next update (error feedback): about 0.03 bytes.
	TopK Method = "top_k"
)

// Methods returns every method.
func Methods() []Method { return []Method{Zstd, Float16, Int8, Int4, TopK} }

// Choose returns the first of the offered methods that this agent knows and that
// suits how the model learns, "" if there is none: the update then travels as it
// is. Statistics are exact, so nothing but Zstd suits them.
func Choose(offered []string, learning model.Learning) Method {
	for _, name := range offered {
		m := Method(name)
		if m == Zstd || learning == model.Gradient && slices.Contains(Methods(), m) {
			return m
		}
	}
	return ""
}
