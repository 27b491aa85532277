package fedavg

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// The binary form of an Accumulator, all numbers little-endian: the magic; 4
// bytes, the length of a JSON header; the header; the sums, 8 bytes for each
// element of a Float32 vector, 16 (fraction first) for each of a Float64 vector;
// 4 bytes, the CRC-32C of everything before.
const accumulatorMagic = "MWACC001"

const accumulatorMaxHeader = 1 << 20

type accumulatorHeader struct {
	Layout  Layout         `json:"layout"`
	Count   int            `json:"count"`
	Weight  [2]uint64      `json:"weight"` // integer part, fraction
	Data    string         `json:"data,omitempty"`
	Metrics []metricRecord `json:"metrics,omitempty"`
}

type metricRecord struct {
	Name     string    `json:"name"`
	Reports  int       `json:"reports"`
	Weighted [2]uint64 `json:"weighted"`
	Weight   [2]uint64 `json:"weight"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f fixed) words() [2]uint64    { return [2]uint64{uint64(f.hi), f.lo} }
func fixedOf(words [2]uint64) fixed { return fixed{hi: int64(words[0]), lo: words[1]} }

// MarshalBinary returns everything a holds. Accumulators that were given the
// same updates, in whatever order and grouping, give the same bytes.
func (a *Accumulator) MarshalBinary() ([]byte, error) {
	h := accumulatorHeader{Layout: a.layout, Count: a.count, Weight: a.weight.words(), Data: a.data.String()}
	for _, name := range slices.Sorted(maps.Keys(a.metrics)) {
		m := a.metrics[name]
		h.Metrics = append(h.Metrics, metricRecord{Name: name, Reports: m.reports, Weighted: m.weighted.words(), Weight: m.weight.words()})
	}
	header, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode accumulator: %w", err)
	}
	if len(header) > accumulatorMaxHeader {
		return nil, fmt.Errorf("encode accumulator: header of %d bytes exceeds %d; use fewer or shorter names", len(header), accumulatorMaxHeader)
	}
	b := make([]byte, 0, int64(len(accumulatorMagic)+8+len(header))+2*a.layout.Bytes())
	b = append(b, accumulatorMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	b = append(b, header...)
	for _, sum := range a.sums {
		for _, x := range sum.f32 {
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		}
		for _, x := range sum.f64 {
			b = binary.LittleEndian.AppendUint64(b, x.lo)
			b = binary.LittleEndian.AppendUint64(b, uint64(x.hi))
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// UnmarshalBinary replaces a, which may be the zero Accumulator, by what
// MarshalBinary wrote. On an error a is as it was. Memory is only allocated for
// numbers that data holds.
func (a *Accumulator) UnmarshalBinary(data []byte) error {
	b, err := decodeAccumulator(data)
	if err != nil {
		return fmt.Errorf("decode accumulator: %w", err)
	}
	*a = *b
	return nil
}

func decodeAccumulator(data []byte) (*Accumulator, error) {
	const head = len(accumulatorMagic) + 4
	if len(data) < head+4 {
		return nil, fmt.Errorf("%d bytes are too few", len(data))
	}
	if string(data[:len(accumulatorMagic)]) != accumulatorMagic {
		return nil, errors.New("not an accumulator, or of another version")
	}
	body, sum := data[:len(data)-4], binary.LittleEndian.Uint32(data[len(data)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("checksum is %08x, not %08x: the data is damaged", got, sum)
	}
	n, body := binary.LittleEndian.Uint32(data[len(accumulatorMagic):]), body[head:]
	if n > accumulatorMaxHeader || int64(n) > int64(len(body)) {
		return nil, fmt.Errorf("header of %d bytes is cut short or too long", n)
	}
	var h accumulatorHeader
	if err := json.Unmarshal(body[:n], &h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	body = body[n:]
	if err := h.Layout.Validate(); err != nil {
		return nil, err
	}
	if want := 2 * h.Layout.Bytes(); want != int64(len(body)) {
		return nil, fmt.Errorf("sums take %d bytes, want %d", len(body), want)
	}
	a, err := NewAccumulator(h.Layout)
	if err != nil {
		return nil, err
	}
	if err := a.setScalars(h); err != nil {
		return nil, err
	}
	for i := range a.segments {
		a.segments[i].bound = doubt32 // not known until it matters
	}
	for _, sum := range a.sums {
		for i := range sum.f32 {
			sum.f32[i] = int64(binary.LittleEndian.Uint64(body[8*i:]))
		}
		for i := range sum.f64 {
			sum.f64[i] = fixed{lo: binary.LittleEndian.Uint64(body[16*i:]), hi: int64(binary.LittleEndian.Uint64(body[16*i+8:]))}
		}
		body = body[8*len(sum.f32)+16*len(sum.f64):]
	}
	return a, nil
}

// setScalars takes count, weight and metrics from h and checks that they can be.
func (a *Accumulator) setScalars(h accumulatorHeader) error {
	a.count, a.weight = h.Count, fixedOf(h.Weight)
	if a.count < 0 || a.weight.hi < 0 {
		return fmt.Errorf("count is %d and weight %v", a.count, a.weight.float())
	}
	var err error
	if a.data, err = parseData(h.Data); err != nil {
		return err
	}
	for _, r := range h.Metrics {
		m := metricSum{reports: r.Reports, weighted: fixedOf(r.Weighted), weight: fixedOf(r.Weight)}
		if _, ok := a.metrics[r.Name]; ok || m.reports < 1 || m.reports > a.count || m.weight.hi < 0 {
			return fmt.Errorf("metric %q is given twice or reported %d times with weight %v", r.Name, m.reports, m.weight.float())
		}
		a.metrics[r.Name] = m
	}
	return nil
}
