package fedavg

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/millwright-iot/millwright/fedavg/safetensors"
)

// ScanUpdate reads what EncodeUpdate wrote from r, up to its end, and verifies all
// of it against layout as DecodeUpdate does, but keeps no numbers: the update it
// returns has no Vectors. Memory is constant, however large the update.
func ScanUpdate(r io.Reader, layout Layout) (*Update, error) {
	if err := layout.Validate(); err != nil {
		return nil, fmt.Errorf("decode update: %w", err)
	}
	var u *Update
	limits := safetensors.Limits{MaxBytes: maxHeaderBytes + 16 + layout.Bytes(), MaxHeaderBytes: maxHeaderBytes, MaxTensors: len(layout)}
	err := safetensors.Scan(r, limits, func(fields map[string]string, tensors []safetensors.Description) error {
		if got := fields["kind"]; got != kindUpdate {
			return fmt.Errorf("file is of kind %q, not %q", got, kindUpdate)
		}
		got := make(Layout, len(tensors))
		for i, t := range tensors {
			if len(t.Shape) != 1 {
				return fmt.Errorf("tensor %q has %d dimensions, not 1", t.Name, len(t.Shape))
			}
			got[i] = VectorSpec{Name: t.Name, DType: Float32, Len: t.Shape[0]}
			if t.DType == Float64.String() {
				got[i].DType = Float64
			}
		}
		if err := layout.compare(got); err != nil {
			return err
		}
		var err error
		if u, err = (&metadata{fields: fields}).update(); err != nil {
			return err
		}
		return u.verifyTold()
	}, func(run safetensors.Run) error {
		return checkRun(layout[run.Tensor].Name, run)
	})
	if err != nil {
		return nil, fmt.Errorf("decode update: %w", err)
	}
	return u, nil
}

// checkRun reports the first element that is NaN or infinite.
func checkRun(vector string, run safetensors.Run) error {
	if run.DType == Float64.String() {
		for i := 0; i+8 <= len(run.Data); i += 8 {
			if x := math.Float64frombits(binary.LittleEndian.Uint64(run.Data[i:])); x-x != 0 {
				return &ValueError{Vector: vector, Index: run.From + i/8, Value: x}
			}
		}
		return nil
	}
	for i := 0; i+4 <= len(run.Data); i += 4 {
		if bits := binary.LittleEndian.Uint32(run.Data[i:]); bits&0x7f800000 == 0x7f800000 {
			return &ValueError{Vector: vector, Index: run.From + i/4, Value: float64(math.Float32frombits(bits))}
		}
	}
	return nil
}
