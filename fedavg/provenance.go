package fedavg

import (
	"encoding/hex"
	"errors"
	"math/bits"
)

// dataSum is the sum of digests modulo 2²⁵⁶, little-endian words: the same for the same
// digests in any order and grouping, like every sum here.
type dataSum [4]uint64

var errDataDigest = errors.New("data digest is not 64 lower-case hex digits")

// parseData reads a digest; none is zero.
func parseData(text string) (dataSum, error) {
	var s dataSum
	if text == "" {
		return s, nil
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != text {
		return s, errDataDigest
	}
	for i, b := range raw { // the first byte is the most significant
		s[3-i/8] = s[3-i/8]<<8 | uint64(b)
	}
	return s, nil
}

// String is what parseData reads; empty for zero.
func (s dataSum) String() string {
	if s == (dataSum{}) {
		return ""
	}
	var raw [32]byte
	for i := range raw {
		raw[i] = byte(s[3-i/8] >> (56 - 8*(i%8)))
	}
	return hex.EncodeToString(raw[:])
}

func (s dataSum) add(t dataSum) dataSum {
	carry := uint64(0)
	for i := range s {
		s[i], carry = bits.Add64(s[i], t[i], carry)
	}
	return s
}

func (s dataSum) sub(t dataSum) dataSum {
	borrow := uint64(0)
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], t[i], borrow)
	}
	return s
}
