package fedavg

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg/safetensors"
)

func sampleUpdate() *Update {
	return &Update{
		Job: "pumps", Round: math.MaxUint64, Attempt: math.MaxUint32, Agent: "gw-1", Base: "ab12", Weight: 0.1 + 0.2,
		Vectors: []Vector{{Name: "z", F64: []float64{1e-300, -2}}, {Name: "a", F32: []float32{0.1}}},
		Metrics: map[string]float64{"loss": 1.0 / 3, "α": -1e-17},
	}
}

func sampleGlobal() *Global {
	return &Global{
		Job: "pumps", Version: 7, SpecDigest: "cd", Base: "ef", Round: 9, Attempt: 2, Seed: math.MaxUint64, Weight: 1e6 + 0.5, Participants: 3,
		Metrics: map[string]float64{"loss": 0.25}, Vectors: []Vector{{Name: "w", F32: []float32{1, 2}}, {Name: "b", F32: []float32{3}}},
	}
}

func TestUpdate_RoundTrip(t *testing.T) {
	for _, u := range []*Update{sampleUpdate(), {Weight: 1, Vectors: []Vector{{Name: "w", F32: []float32{1}}}}} {
		data, err := EncodeUpdate(u)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EncodeUpdate(u)
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("encoding twice gives different bytes: %v", err)
		}
		for _, layout := range []Layout{nil, LayoutOf(u.Vectors)} {
			got, err := DecodeUpdate(data, layout)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(u, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestGlobal_RoundTrip(t *testing.T) {
	for _, g := range []*Global{sampleGlobal(), {Vectors: []Vector{{Name: "w", F64: []float64{0}}}}} {
		data, err := EncodeGlobal(g)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeGlobal(data, LayoutOf(g.Vectors))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDecodeUpdate_WrongShape(t *testing.T) {
	data, err := EncodeUpdate(sampleUpdate())
	if err != nil {
		t.Fatal(err)
	}
	layout := LayoutOf(sampleUpdate().Vectors)
	var shape *ShapeError
	for _, l := range []Layout{
		{layout[1], layout[0]},
		{layout[0], {Name: "a", DType: Float32, Len: 2}},
		{layout[0], {Name: "a", DType: Float64, Len: 1}},
	} {
		if _, err := DecodeUpdate(data, l); !errors.As(err, &shape) {
			t.Errorf("%v: got %v", l, err)
		}
	}
	if _, err := DecodeUpdate(data, layout[:1]); err == nil {
		t.Error("accepts a vector too many")
	}
}

// An update far larger than the job's layout is refused by its size alone.
func TestDecodeUpdate_TooLarge(t *testing.T) {
	u := &Update{Weight: 1, Vectors: []Vector{{Name: "w", F32: make([]float32, 1<<19)}}}
	data, err := EncodeUpdate(u)
	if err != nil {
		t.Fatal(err)
	}
	var limit *safetensors.LimitError
	if _, err := DecodeUpdate(data, Layout{{Name: "w", DType: Float32, Len: 10}}); !errors.As(err, &limit) {
		t.Errorf("got %v", err)
	}
}

func TestEncode_RefusesUnusableNumbers(t *testing.T) {
	nan := math.NaN()
	u := sampleUpdate()
	for name, spoil := range map[string]func(){
		"element": func() { u.Vectors[1].F32[0] = float32(nan) },
		"weight":  func() { u.Weight = 0 },
		"metric":  func() { u.Metrics["loss"] = math.Inf(1) },
		"both":    func() { u.Vectors[0].F32 = []float32{1} },
	} {
		u = sampleUpdate()
		spoil()
		if _, err := EncodeUpdate(u); err == nil {
			t.Errorf("update: accepts bad %s", name)
		}
	}
	g := sampleGlobal()
	for name, spoil := range map[string]func(){
		"element":      func() { g.Vectors[1].F32[0] = float32(nan) },
		"weight":       func() { g.Weight = -1 },
		"metric":       func() { g.Metrics["loss"] = nan },
		"participants": func() { g.Participants = -1 },
	} {
		g = sampleGlobal()
		spoil()
		if _, err := EncodeGlobal(g); err == nil {
			t.Errorf("global: accepts bad %s", name)
		}
	}
}

// A file that is well formed but lies in its metadata, or has NaN.
func TestDecode_BadMetadata(t *testing.T) {
	encoded, err := EncodeUpdate(sampleUpdate())
	if err != nil {
		t.Fatal(err)
	}
	global, err := EncodeGlobal(sampleGlobal())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeUpdate(global, nil); err == nil || !strings.Contains(err.Error(), "kind") {
		t.Errorf("a global model passes as an update: %v", err)
	}
	if _, err := DecodeGlobal(encoded, nil); err == nil || !strings.Contains(err.Error(), "kind") {
		t.Errorf("an update passes as a global model: %v", err)
	}
	for key, values := range map[string][]string{
		"round":   {"", "-1", "1.5", "18446744073709551616"},
		"attempt": {"4294967296"},
		"weight":  {"0", "-1", "NaN", "Inf", "much", "1e999"},
		"metrics": {"", "[]", `{"loss":"low"}`, `{"loss":1e999}`},
		"kind":    {""},
	} {
		for _, value := range values {
			f, err := safetensors.Decode(encoded, safetensors.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			f.Metadata[key] = value
			data, err := safetensors.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeUpdate(data, nil); err == nil {
				t.Errorf("accepts %s %q", key, value)
			}
			delete(f.Metadata, key)
			if data, err = safetensors.Marshal(f); err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeUpdate(data, nil); err == nil {
				t.Errorf("accepts no %s", key)
			}
		}
	}
	f, err := safetensors.Decode(encoded, safetensors.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f.Tensors[0].F64[1] = math.Inf(1)
	data, err := safetensors.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var value *ValueError
	if _, err := DecodeUpdate(data, nil); !errors.As(err, &value) || value.Vector != "z" || value.Index != 1 {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeUpdate(f *testing.F) {
	data, err := EncodeUpdate(sampleUpdate())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := DecodeUpdate(data, nil)
		if err != nil {
			return
		}
		again, err := EncodeUpdate(u)
		if err != nil {
			t.Fatal(err)
		}
		v, err := DecodeUpdate(again, LayoutOf(u.Vectors))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u, v); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeGlobal(f *testing.F) {
	data, err := EncodeGlobal(sampleGlobal())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := DecodeGlobal(data, nil)
		if err != nil {
			return
		}
		again, err := EncodeGlobal(g)
		if err != nil {
			t.Fatal(err)
		}
		h, err := DecodeGlobal(again, LayoutOf(g.Vectors))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g, h); diff != "" {
			t.Fatal(diff)
		}
	})
}
