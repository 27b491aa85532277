package compress

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
)

// A compressed update, all numbers little-endian: the magic; then, as one zstd
// frame: 4 bytes, the length of a JSON header; the header; what the method makes
// of the vectors.
const magic = "MWCU0001"

const maxHeaderBytes = 1 << 20

// header is everything but the numbers. Names are not in it: who decodes has them.
type header struct {
	Method  Method             `json:"method"`
	Lengths []int              `json:"lengths"`
	Job     string             `json:"job"`
	Round   uint64             `json:"round"`
	Attempt uint32             `json:"attempt"`
	Agent   string             `json:"agent"`
	Base    string             `json:"base"`
	Weight  float64            `json:"weight"`
	Steps   float64            `json:"steps,omitempty"`
	Data    string             `json:"data,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
}

// Options tune what Encode does.
type Options struct {
	// Seed of random rounding. Job, round and agent of the update are mixed in, so
	// that agents do not all round alike.
	Seed uint64
	// Residual is what Encode returned with the last update that was counted; nil
	// at first. Only TopK looks at it.
	Residual []fedavg.Vector
	// Share of the numbers that TopK sends, 0 < Share ≤ 0.5. Default 0.01.
	Share float64
}

const defaultShare = 0.01

// Encode returns u compressed by method m; an empty m is fedavg.EncodeUpdate. The
// same arguments give the same bytes. Float64 vectors, which are statistics, are for
// Zstd alone.
//
// With TopK it also returns the residual: what u and the residual before hold and
// the bytes do not. Keep it when the update was counted; if it was lost, the
// residual before stands.
func Encode(u *fedavg.Update, m Method, o Options) (data []byte, residual []fedavg.Vector, err error) {
	if m == "" {
		data, err = fedavg.EncodeUpdate(u)
		return data, nil, err
	}
	layout := fedavg.LayoutOf(u.Vectors)
	if err := u.Verify(layout); err != nil {
		return nil, nil, fmt.Errorf("compress update: %w", err)
	}
	if err := m.check(layout); err != nil {
		return nil, nil, fmt.Errorf("compress update: %w", err)
	}
	h := header{
		Method: m, Job: u.Job, Round: u.Round, Attempt: u.Attempt, Agent: u.Agent, Base: u.Base,
		Weight: u.Weight, Steps: u.Steps, Data: u.Data, Metrics: u.Metrics,
	}
	for _, s := range layout {
		h.Lengths = append(h.Lengths, s.Len)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, nil, fmt.Errorf("compress update: %w", err)
	}
	if len(text) > maxHeaderBytes {
		return nil, nil, fmt.Errorf("compress update: header of %d bytes exceeds %d; use fewer or shorter metrics", len(text), maxHeaderBytes)
	}
	b := &body{data: binary.LittleEndian.AppendUint32(nil, uint32(len(text)))}
	b.data = append(b.data, text...)
	b.cut()
	switch m {
	case Zstd:
		b.planes(u.Vectors)
	case Float16:
		b.halves(u.Vectors)
	case Int8, Int4:
		b.levels(u.Vectors, m.levels(), newDice(o.Seed, u))
	case TopK:
		residual, err = b.top(u.Vectors, o)
	}
	if err == nil {
		data, err = b.deflate()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("compress update: %w", err)
	}
	return data, residual, nil
}

// check says why m is not for vectors of layout.
func (m Method) check(layout fedavg.Layout) error {
	if !slices.Contains(Methods(), m) {
		return fmt.Errorf("unknown method %q; it must be one of %v", m, Methods())
	}
	for _, s := range layout {
		if s.DType == fedavg.Float64 && m != Zstd {
			return fmt.Errorf("method %q rounds, but %q is %v, which must stay exact; use %q", m, s.Name, s.DType, Zstd)
		}
	}
	return nil
}

// Decode reads what Encode wrote, compressed or not, and verifies that it fits
// layout and is finite. It uses no more memory than such an update can need,
// whatever data claims.
func Decode(data []byte, layout fedavg.Layout) (*fedavg.Update, error) {
	if err := layout.Validate(); err != nil {
		return nil, fmt.Errorf("decompress update: %w", err)
	}
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return fedavg.DecodeUpdate(data, layout)
	}
	u, err := decode(data[len(magic):], layout)
	if err != nil {
		return nil, fmt.Errorf("decompress update: %w", err)
	}
	return u, nil
}

func decode(frame []byte, layout fedavg.Layout) (*fedavg.Update, error) {
	most := int64(maxHeaderBytes + 64)
	for _, s := range layout {
		most += 9*int64(s.Len) + 64 // no method takes more
	}
	body, err := inflate(frame, most)
	if err != nil {
		return nil, err
	}
	if len(body) < 4 {
		return nil, errShort
	}
	n := binary.LittleEndian.Uint32(body)
	if body = body[4:]; n > maxHeaderBytes || int64(n) > int64(len(body)) {
		return nil, fmt.Errorf("header of %d bytes is cut short or too long", n)
	}
	var h header
	if err := json.Unmarshal(body[:n], &h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.Method.check(layout); err != nil {
		return nil, err
	}
	if len(h.Lengths) != len(layout) {
		return nil, &fedavg.ShapeError{Vector: "number of vectors", Got: len(h.Lengths), Want: len(layout)}
	}
	for i, s := range layout {
		if h.Lengths[i] != s.Len {
			return nil, &fedavg.ShapeError{Vector: s.Name, Got: h.Lengths[i], Want: s.Len}
		}
	}
	u := &fedavg.Update{
		Job: h.Job, Round: h.Round, Attempt: h.Attempt, Agent: h.Agent, Base: h.Base,
		Weight: h.Weight, Steps: h.Steps, Data: h.Data, Metrics: h.Metrics, Vectors: layout.New(),
	}
	r := &reader{data: body[n:]}
	switch h.Method {
	case Zstd:
		readPlanes(r, u.Vectors)
	case Float16:
		readHalves(r, u.Vectors)
	case Int8, Int4:
		readLevels(r, u.Vectors, h.Method.levels())
	case TopK:
		readTop(r, u.Vectors)
	}
	if r.err == nil && len(r.data) != 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.data))
	}
	if r.err != nil {
		return nil, r.err
	}
	return u, u.Verify(layout)
}

var errShort = errors.New("data is cut short")

// reader takes bytes off data and keeps the first error; from then on it yields
// zeros.
type reader struct {
	data []byte
	err  error
}

// take returns the next n bytes, or nil.
func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.data)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) float32() float32 {
	if b := r.take(4); b != nil {
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	x, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.err = errShort
		return 0
	}
	r.data = r.data[n:]
	return x
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}
