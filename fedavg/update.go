// Package fedavg turns what many agents learned into one global model.
//
// An [Update] is a weight and named vectors to be summed. An [Accumulator] sums
// them in fixed point, so the result does not depend, bit for bit, on the order
// or grouping in which updates arrive. A [Strategy] makes the next global
// parameters from the updates of one round. The package does no I/O.
package fedavg

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

// DType is the element type of a Vector.
type DType uint8

// Gradient models exchange Float32 vectors; statistics, whose sums must equal
// the centralised fit, exchange Float64.
const (
	Float32 DType = iota + 1
	Float64
)

// String returns the type's name as the safetensors format spells it.
func (d DType) String() string {
	switch d {
	case Float32:
		return "F32"
	case Float64:
		return "F64"
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Vector is a named run of numbers. Exactly one of F32 and F64 is set.
type Vector struct {
	Name string
	F32  []float32
	F64  []float64
}

// DType returns the element type of v.
func (v Vector) DType() DType {
	if v.F64 != nil {
		return Float64
	}
	return Float32
}

// Len returns the number of elements of v.
func (v Vector) Len() int { return len(v.F32) + len(v.F64) }

// VectorSpec is what a Vector must look like.
type VectorSpec struct {
	Name  string `json:"name"`
	DType DType  `json:"dtype"`
	Len   int    `json:"len"`
}

// Layout is the ordered list of vectors that the parameters of a model, or the
// updates to it, consist of.
type Layout []VectorSpec

// Size is the total number of elements.
func (l Layout) Size() int {
	n := 0
	for _, s := range l {
		n += s.Len
	}
	return n
}

// Bytes is how much memory the elements take.
func (l Layout) Bytes() int64 {
	n := int64(0)
	for _, s := range l {
		if s.DType == Float64 {
			n += 8 * int64(s.Len)
		} else {
			n += 4 * int64(s.Len)
		}
	}
	return n
}

// Validate reports why l cannot be the layout of a model: no vectors, a name
// that is empty, repeated or not UTF-8, an unknown element type, a length below 1, or more
// elements than an int counts.
func (l Layout) Validate() error {
	if len(l) == 0 {
		return errors.New("check layout: it has no vectors")
	}
	names, size := map[string]bool{}, int64(0)
	for i, s := range l {
		switch size += int64(s.Len); {
		case s.Name == "":
			return fmt.Errorf("check layout: vector %d has no name", i)
		case !utf8.ValidString(s.Name):
			return fmt.Errorf("check layout: name %q is not UTF-8", s.Name)
		case names[s.Name]:
			return fmt.Errorf("check layout: name %q is used twice", s.Name)
		case s.DType != Float32 && s.DType != Float64:
			return fmt.Errorf("check layout: vector %q has unknown element type %d", s.Name, s.DType)
		case s.Len < 1 || size > math.MaxInt/16:
			return fmt.Errorf("check layout: vector %q has length %d", s.Name, s.Len)
		}
		names[s.Name] = true
	}
	return nil
}

// New allocates zeroed vectors of layout l.
func (l Layout) New() []Vector {
	vs := make([]Vector, len(l))
	for i, s := range l {
		vs[i].Name = s.Name
		if s.DType == Float64 {
			vs[i].F64 = make([]float64, s.Len)
		} else {
			vs[i].F32 = make([]float32, s.Len)
		}
	}
	return vs
}

// Check reports the first difference between vs and l as a *ShapeError.
func (l Layout) Check(vs []Vector) error {
	for _, v := range vs {
		if v.F32 != nil && v.F64 != nil {
			return &ShapeError{Vector: v.Name + " has both F32 and F64", Got: v.Len(), Want: len(v.F32)}
		}
	}
	return l.compare(LayoutOf(vs))
}

// compare reports the first difference of got from l as a *ShapeError.
func (l Layout) compare(got Layout) error {
	if len(got) != len(l) {
		return &ShapeError{Vector: "number of vectors", Got: len(got), Want: len(l)}
	}
	for i, want := range l {
		switch got := got[i]; {
		case got.Name != want.Name:
			return &ShapeError{Vector: fmt.Sprintf("vector %d is named %q, not %q", i, got.Name, want.Name), Got: got.Len, Want: want.Len}
		case got.DType != want.DType:
			return &ShapeError{Vector: fmt.Sprintf("%s is %v, not %v", want.Name, got.DType, want.DType), Got: got.Len, Want: want.Len}
		case got.Len != want.Len:
			return &ShapeError{Vector: want.Name, Got: got.Len, Want: want.Len}
		}
	}
	return nil
}

// ShapeError says which vector of an update does not fit the job's layout.
type ShapeError struct {
	Vector    string
	Got, Want int
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("vectors do not fit the job's layout: %s: got %d, want %d", e.Vector, e.Got, e.Want)
}

// Update is what one agent sends in one round.
type Update struct {
	Job     string // job name
	Round   uint64 // round the update answers
	Agent   string // who learned it
	Attempt uint32 // 1 for the first try of the round; an abandoned round is retried with the next
	// Base is the digest of the global model the training started from.
	Base    string
	Weight  float64 // finite, > 0: the number of feature vectors learned from
	Vectors []Vector
	// Metrics describe the training, e.g. "loss". Finite. Averaged by Weight.
	Metrics map[string]float64
	// Steps is how many local steps of gradient descent made Vectors, where the
	// strategy needs it (FedNova); 0 if not told. With a proximal term it is the effective number.
	Steps float64
	// Data is the digest of what the agent learned from, 64 hex digits; empty if not
	// told. It proves nothing to others, but lets the agent show later what it was.
	Data string
	// Staleness is how many versions were committed since the one the training
	// started from. The coordinator sets it; it is not on the wire.
	Staleness int
}

// Verify reports why u must not be counted: it does not fit layout (*ShapeError),
// its weight is not a positive finite number, its steps are negative, or a value is NaN or infinite
// (*ValueError).
func (u *Update) Verify(layout Layout) error {
	if err := u.verifyScalars(layout); err != nil {
		return err
	}
	return checkFinite(nil, u.Vectors)
}

// verifyScalars is Verify without a look at the elements.
func (u *Update) verifyScalars(layout Layout) error {
	if err := layout.Check(u.Vectors); err != nil {
		return err
	}
	return u.verifyTold()
}

// verifyTold is Verify of all but the vectors.
func (u *Update) verifyTold() error {
	if !(u.Weight > 0) || math.IsInf(u.Weight, 0) {
		return &ValueError{Vector: "weight", Value: u.Weight}
	}
	if !(u.Steps >= 0) || math.IsInf(u.Steps, 0) {
		return &ValueError{Vector: "steps", Value: u.Steps}
	}
	if _, err := parseData(u.Data); err != nil {
		return err
	}
	return checkFinite(u.Metrics, nil)
}

// checkFinite reports the first metric or element that is NaN or infinite.
func checkFinite(metrics map[string]float64, vectors []Vector) error {
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if x := metrics[name]; math.IsNaN(x) || math.IsInf(x, 0) {
			return &ValueError{Vector: "metric " + name, Value: x}
		}
	}
	for _, v := range vectors {
		for i, x := range v.F32 {
			if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
				return &ValueError{Vector: v.Name, Index: i, Value: float64(x)}
			}
		}
		for i, x := range v.F64 {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return &ValueError{Vector: v.Name, Index: i, Value: x}
			}
		}
	}
	return nil
}

// ValueError names a number that must not enter an aggregate.
type ValueError struct {
	Vector string
	Index  int
	Value  float64
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("unusable number: %s[%d] = %v", e.Vector, e.Index, e.Value)
}
