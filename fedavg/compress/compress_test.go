package compress

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// normal makes an update of normally distributed numbers of very different sizes
// in its two vectors.
func normal(n int, seed uint64) *fedavg.Update {
	r := rand.New(rand.NewPCG(seed, 1))
	u := &fedavg.Update{
		Job: "pumps", Round: 7, Agent: "plant-a", Attempt: 2, Base: "ab", Weight: 120, Steps: 33, Metrics: map[string]float64{"loss": 0.25},
		Vectors: []fedavg.Vector{{Name: "w", F32: make([]float32, n)}, {Name: "b", F32: make([]float32, n/10+1)}},
	}
	for i := range u.Vectors[0].F32 {
		u.Vectors[0].F32[i] = float32(r.NormFloat64() * 1e-3)
	}
	for i := range u.Vectors[1].F32 {
		u.Vectors[1].F32[i] = float32(r.NormFloat64() * 30)
	}
	return u
}

func encodeT(t testing.TB, u *fedavg.Update, m Method, o Options) ([]byte, []fedavg.Vector) {
	t.Helper()
	data, residual, err := Encode(u, m, o)
	if err != nil {
		t.Fatalf("%s: %v", m, err)
	}
	return data, residual
}

func decodeT(t testing.TB, data []byte, u *fedavg.Update) *fedavg.Update {
	t.Helper()
	got, err := Decode(data, fedavg.LayoutOf(u.Vectors))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// relativeError is ‖a−b‖/‖b‖ of one vector.
func relativeError(a, b []float32) float64 {
	d, n := 0.0, 0.0
	for i := range a {
		d += math.Pow(float64(a[i])-float64(b[i]), 2)
		n += math.Pow(float64(b[i]), 2)
	}
	return math.Sqrt(d / n)
}

// Bounds on the bytes a number takes, and on the error, of normally distributed
// numbers σ. Rounding to a step h at random has variance h²/6 on average; the
// largest of 256 numbers is about 2.8σ, so h = 2.8σ/127 (int8) and 2.8σ/7 (int4): 0.9 % and 16 %. Half
// precision errs by less than 2⁻¹¹.
func TestEncode_BytesAndError(t *testing.T) {
	u := normal(20000, 1)
	for _, tt := range []struct {
		method     Method
		bytes, err float64
	}{{"", 4.02, 0}, {Zstd, 3.5, 0}, {Float16, 1.9, 0x1p-11}, {Int8, 1.03, 0.011}, {Int4, 0.51, 0.2}} {
		data, residual := encodeT(t, u, tt.method, Options{Seed: 1})
		if residual != nil {
			t.Errorf("%q leaves a residual", tt.method)
		}
		got := decodeT(t, data, u)
		if perNumber := float64(len(data)) / 22001; perNumber > tt.bytes {
			t.Errorf("%q takes %.2f bytes a number", tt.method, perNumber)
		}
		for k, v := range got.Vectors {
			if e := relativeError(v.F32, u.Vectors[k].F32); e > tt.err {
				t.Errorf("%q errs by %v in %s", tt.method, e, v.Name)
			}
		}
		got.Vectors = nil
		want := *u
		want.Vectors = nil
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%q: %s", tt.method, diff)
		}
		if again, _ := encodeT(t, u, tt.method, Options{Seed: 1}); !bytes.Equal(data, again) {
			t.Errorf("%q: the same update gives other bytes", tt.method)
		}
	}
}

// Whatever the numbers, Zstd gives them back bit by bit, −0 and subnormals included.
func TestZstd_Exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := &fedavg.Update{Weight: 1, Vectors: []fedavg.Vector{
			{Name: "s", F64: rapid.SliceOfN(rapid.Float64(), 1, 50).Draw(t, "s")},
			{Name: "w", F32: rapid.SliceOfN(rapid.Float32(), 1, 50).Draw(t, "w")},
		}}
		data, _, err := Encode(u, Zstd, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data, fedavg.LayoutOf(u.Vectors))
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range got.Vectors[0].F64 {
			if math.Float64bits(x) != math.Float64bits(u.Vectors[0].F64[i]) {
				t.Fatalf("s[%d] is %v", i, x)
			}
		}
		for i, x := range got.Vectors[1].F32 {
			if math.Float32bits(x) != math.Float32bits(u.Vectors[1].F32[i]) {
				t.Fatalf("w[%d] is %v", i, x)
			}
		}
	})
}

// The mean of many roundings is the number: within 5 standard errors, and never
// more than a level away.
func TestLevels_Unbiased(t *testing.T) {
	x := []float32{1, -1, 0.3, -0.3, 0.0041, -0.9999, 0, 1e-9, 0.5}
	u := &fedavg.Update{Weight: 1, Vectors: []fedavg.Vector{{Name: "w", F32: slices.Repeat(x, 400)}}}
	for _, m := range []Method{Int8, Int4} {
		const n = 20 * 400
		step := 1 / float64(m.levels())
		sums := make([]float64, len(x))
		for seed := range uint64(20) {
			data, _ := encodeT(t, u, m, Options{Seed: seed})
			for i, y := range decodeT(t, data, u).Vectors[0].F32 {
				i %= len(x)
				if math.Abs(float64(y)-float64(x[i])) > step*(1+1e-6) {
					t.Fatalf("%s: %v becomes %v", m, x[i], y)
				}
				sums[i] += float64(y)
			}
		}
		for i, s := range sums {
			// A step p from the lower of two levels has the variance p(1−p) ≤ ¼ steps².
			if bias := math.Abs(s/n - float64(x[i])); bias > 5*step/2/math.Sqrt(n)+1e-7 {
				t.Errorf("%s: %v becomes %v on average", m, x[i], s/n)
			}
		}
		if sums[0] != n || sums[6] != 0 {
			t.Errorf("%s: the largest and 0 are not exact: %v, %v", m, sums[0]/n, sums[6]/n)
		}
	}
}

// Two agents do not round alike.
func TestLevels_AgentsDiffer(t *testing.T) {
	a, b := normal(1000, 1), normal(1000, 1)
	b.Agent = "plant-b"
	da, _ := encodeT(t, a, Int4, Options{Seed: 1})
	db, _ := encodeT(t, b, Int4, Options{Seed: 1})
	if cmp.Equal(decodeT(t, da, a).Vectors, decodeT(t, db, b).Vectors) {
		t.Error("they do")
	}
}

// binary16 by numpy.float16(x).view(uint16).
func TestHalf_Numpy(t *testing.T) {
	for x, want := range map[float64]uint16{
		1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 0.1: 0x2e66, 1.0 / 3: 0x3555, 6.103515625e-05: 0x0400, 6.1e-05: 0x03ff, 5.9604645e-08: 0x0001,
		1e-8: 0x0000, 2049: 0x6800, 2051: 0x6802, 0.00011: 0x0735, 1000.4: 0x63d1, 6.0e-05: 0x03ef,
	} {
		if got := toHalf(x); got != want {
			t.Errorf("%v is %#04x, want %#04x", x, got, want)
		}
	}
	for h := range uint16(0x7c00) {
		for _, h := range []uint16{h, h | 1<<15} {
			if x := fromHalf(h); math.Abs(x) < 1<<15 && toHalf(x) != h {
				t.Fatalf("%#04x is %v is %#04x", h, x, toHalf(x))
			}
		}
	}
}

func TestEncode_Refuses(t *testing.T) {
	f32 := []fedavg.Vector{{Name: "w", F32: []float32{1, 2}}}
	f64 := []fedavg.Vector{{Name: "s", F64: []float64{1}}}
	for name, tt := range map[string]struct {
		u *fedavg.Update
		m Method
		o Options
	}{
		"unknown method":         {&fedavg.Update{Weight: 1, Vectors: f32}, "lzma", Options{}},
		"rounds statistics":      {&fedavg.Update{Weight: 1, Vectors: f64}, Int8, Options{}},
		"no weight":              {&fedavg.Update{Vectors: f32}, Zstd, Options{}},
		"nan":                    {&fedavg.Update{Weight: 1, Vectors: []fedavg.Vector{{Name: "w", F32: []float32{float32(math.NaN())}}}}, Float16, Options{}},
		"residual of other size": {&fedavg.Update{Weight: 1, Vectors: f32}, TopK, Options{Residual: []fedavg.Vector{{Name: "w", F32: []float32{1}}}}},
		"residual is infinite":   {&fedavg.Update{Weight: 1, Vectors: f32}, TopK, Options{Residual: []fedavg.Vector{{Name: "w", F32: []float32{1, float32(math.Inf(1))}}}}},
		"share":                  {&fedavg.Update{Weight: 1, Vectors: f32}, TopK, Options{Share: 0.6}},
	} {
		if data, _, err := Encode(tt.u, tt.m, tt.o); err == nil {
			t.Errorf("%s: %d bytes", name, len(data))
		}
	}
}

func TestDecode_WrongLayout(t *testing.T) {
	u := normal(50, 1)
	for _, m := range Methods() {
		data, _ := encodeT(t, u, m, Options{})
		layout := fedavg.LayoutOf(u.Vectors)
		layout[0].Len++
		layout[1].Len--
		var shape *fedavg.ShapeError
		if _, err := Decode(data, layout); !errors.As(err, &shape) || shape.Got != 50 || shape.Want != 51 {
			t.Errorf("%s: %v", m, err)
		}
		if _, err := Decode(data, layout[:1]); !errors.As(err, &shape) {
			t.Errorf("%s: %v", m, err)
		}
		if _, err := Decode(data, nil); err == nil {
			t.Errorf("%s: accepts no layout", m)
		}
		layout = fedavg.LayoutOf(u.Vectors)
		for n := range data {
			if _, err := Decode(data[:n], layout); err == nil {
				t.Errorf("%s: accepts %d of %d bytes", m, n, len(data))
			}
		}
		for i := len(magic); i < len(data); i++ { // the frame has a checksum
			bad := bytes.Clone(data)
			bad[i] ^= 0x10
			if got, err := Decode(bad, layout); err == nil && !cmp.Equal(got, decodeT(t, data, u)) {
				t.Errorf("%s: takes byte %d changed", m, i)
			}
		}
	}
}

func TestDecode_Hostile(t *testing.T) {
	u := &fedavg.Update{Weight: 1, Vectors: []fedavg.Vector{{Name: "w", F32: []float32{1, 2, 3}}}}
	layout := fedavg.LayoutOf(u.Vectors)
	frame := func(text string) []byte {
		data, err := (&body{data: []byte(text)}).deflate()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	head := func(text string) string { return string([]byte{byte(len(text)), byte(len(text) >> 8), 0, 0}) + text }
	bomb := frame(string(make([]byte, 64<<20)))
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb takes %d bytes itself", len(bomb))
	}
	for name, data := range map[string][]byte{
		"bomb":            bomb,
		"empty":           frame(""),
		"no header":       frame("\xff\xff\xff\xff"),
		"method":          frame(head(`{"method":"lzma","lengths":[3],"weight":1}`)),
		"no weight":       frame(head(`{"method":"float16","lengths":[3]}`) + string(make([]byte, 8))),
		"short":           frame(head(`{"method":"float16","lengths":[3],"weight":1}`) + string(make([]byte, 7))),
		"long":            frame(head(`{"method":"float16","lengths":[3],"weight":1}`) + string(make([]byte, 9))),
		"half infinite":   frame(head(`{"method":"float16","lengths":[3],"weight":1}`) + "\x00\x00" + "\x00\x00\x00" + "\x7c\x00\x00"),
		"exponent":        frame(head(`{"method":"float16","lengths":[3],"weight":1}`) + "\xff\x7f" + "\x01\x01\x01" + "\x01\x01\x01"),
		"level":           frame(head(`{"method":"int8","lengths":[3],"weight":1}`) + "\x00\x00\x80\x3f" + "\x7f\xff\x7f"),
		"scale":           frame(head(`{"method":"int8","lengths":[3],"weight":1}`) + "\x00\x00\xc0\x7f" + "\x7f\x7f\x7f"),
		"too many top":    frame(head(`{"method":"top_k","lengths":[3],"weight":1}`) + "\x04\x01\x01\x01\x01" + string(make([]byte, 10))),
		"top beyond":      frame(head(`{"method":"top_k","lengths":[3],"weight":1}`) + "\x02\x01\x03" + string(make([]byte, 6))),
		"top twice":       frame(head(`{"method":"top_k","lengths":[3],"weight":1}`) + "\x02\x01\x00" + string(make([]byte, 6))),
		"negative length": frame(head(`{"method":"int8","lengths":[-3],"weight":1}`)),
	} {
		if got, err := Decode(data, layout); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		offered  []string
		learning model.Learning
		want     Method
	}{
		{nil, model.Gradient, ""},
		{[]string{"top_k", "int8", "zstd"}, model.Gradient, TopK},
		{[]string{"from_the_future", "int8", "zstd"}, model.Gradient, Int8},
		{[]string{"top_k", "int8", "zstd"}, model.Statistics, Zstd},
		{[]string{"top_k"}, model.Statistics, ""},
	} {
		if got := Choose(tt.offered, tt.learning); got != tt.want {
			t.Errorf("of %v: %q", tt.offered, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	u := normal(20, 1)
	layout := fedavg.LayoutOf(u.Vectors)
	for _, m := range append(Methods(), "") {
		data, _ := encodeT(f, u, m, Options{Share: 0.3})
		f.Add(data)
		if m != "" { // the fuzzer cannot make checksums: what is inside the frame, too
			body, err := inflate(data[len(magic):], 1<<20)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		framed, err := (&body{data: data}).deflate()
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{data, framed} {
			u, err := Decode(data, layout)
			if err != nil {
				continue
			}
			if err := u.Verify(layout); err != nil {
				t.Fatalf("decodes what must not count: %v", err)
			}
			again, _, err := Encode(u, Zstd, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if back, err := Decode(again, layout); err != nil || !cmp.Equal(u, back) {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}
