package decode

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

// FuzzDecoder feeds any payload to every format: no panic, and what comes out
// is finite, has a rate where it must, or an error with a reason.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{`{"t":1700000000,"v":[1,2,3],"x":{"y":"4"}}`, "21.7", `{"x":{"y":NaN}}`, `{"x":{"y":"00112233445566"}}`, `{"x":{"y":"007FC00000"}}`, "\x00\x01\x02\x03", `[[[`, `{"v":[,]}`, `{"v":[1]]}`, `{"t":"2020-01-01 00:00:00","x":{"y":1}}`} {
		f.Add([]byte(s))
	}
	d, err := New(
		Spec{Format: Scalar},
		Spec{Format: JSON, Path: "x.y", Hex: "float32@1"},
		Spec{Format: JSON, Path: "x.y", TimePath: "t"},
		Spec{Format: JSONArray, Path: "v", RateHz: 10, RatePath: "hz", TimePath: "t"},
		Spec{Format: Int16, RateHz: 100},
		Spec{Format: Float32, RateHz: 100, Header: HeaderUnix},
	)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := string(payload)
		rs := d.Decode(nil, payload)
		if string(payload) != before {
			t.Error("payload was changed")
		}
		if len(rs) != 6 {
			t.Fatalf("%d readings for 6 specs", len(rs))
		}
		for i, r := range rs {
			if r.Err != nil {
				if reason(r.Err) == "" || r.Samples != nil {
					t.Errorf("spec %d: error %v without a reason, or with samples", i, r.Err)
				}
				continue
			}
			if len(r.Samples) == 0 || i >= 3 != (r.RateHz > 0) || math.IsInf(r.RateHz, 0) {
				t.Errorf("spec %d: %d samples at %v Hz", i, len(r.Samples), r.RateHz)
			}
			for _, x := range r.Samples {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					t.Errorf("spec %d: sample %v", i, x)
				}
			}
		}
	})
}

// FuzzScanner compares the scanner with encoding/json: the same documents are
// well-formed, and the value found is the one the library finds.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"b":[1,2]}}`, `[{"a":1.5e-3}]`, `{"a":"\u00e4\n"}`, `-0.0`, `01`, `1.`, `{"a":1,}`, `"\x"`, `{"\u0061":2}`, "{\"a\":\"\x01\"}", `nul`, ` true `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.ContainsAny(string(data), "NI") {
			return // NaN and Infinity are read beyond the standard
		}
		root := newNode("")
		root.child("a").slot = 0
		s := scanner{data: data, spans: make([]span, 1)}
		err := s.document(root)
		if err != nil && strings.Contains(err.Error(), "nesting") {
			return
		}
		if (err == nil) != json.Valid(data) {
			t.Fatalf("scanner says %v, encoding/json says valid = %v", err, json.Valid(data))
		}
		if err != nil || !startsObject(data) {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(fmt.Sprint(want), '\uFFFD') {
			return // the library replaces what is not UTF-8, so keys may differ
		}
		got := s.spans[0]
		raw, there := want["a"]
		if there != (got.kind != 0) || string(raw) != string(data[got.start:got.end]) {
			t.Errorf("found %q; encoding/json finds %q", data[got.start:got.end], raw)
		}
	})
}

func startsObject(data []byte) bool {
	data = trim(data)
	return len(data) > 0 && data[0] == '{'
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"1583748873.5", "2020-03-09T10:14:33Z", "2020-03-09 10:14:33", "1e18", "-5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range timeFormats {
			got, _, err := ParseTime(text, format)
			if err != nil && !got.IsZero() {
				t.Errorf("ParseTime(%q, %s) = %v beside an error", text, format, got)
			}
		}
	})
}

func BenchmarkDecoder_EightPaths(b *testing.B) {
	payload := []byte(`{"t":1700000000.250,"a1":0.0265878,"a2":0.0401113,"current":1.3302,"pressure":0.054711,"temp":79.3366,"thermo":26.0199,"voltage":233.06}`)
	var specs []Spec
	for _, p := range []string{"a1", "a2", "current", "pressure", "temp", "thermo", "voltage", "t"} {
		specs = append(specs, Spec{Format: JSON, Path: p, TimePath: "t"})
	}
	benchmarkDecode(b, payload, specs...)
}

func BenchmarkDecoder_OnePath(b *testing.B) {
	benchmarkDecode(b, []byte(`{"t":1700000000.250,"temp":79.3366}`), Spec{Format: JSON, Path: "temp", TimePath: "t"})
}

func BenchmarkDecoder_Float32Burst(b *testing.B) {
	benchmarkDecode(b, make([]byte, 4*3200), Spec{Format: Float32, RateHz: 3200})
}

func BenchmarkDecoder_JSONBurst(b *testing.B) {
	payload := []byte(`{"v":[0`)
	for i := range 3199 {
		payload = fmt.Appendf(payload, ",%.5f", math.Sin(float64(i)))
	}
	benchmarkDecode(b, append(payload, "]}"...), Spec{Format: JSONArray, Path: "v", RateHz: 3200})
}

func benchmarkDecode(b *testing.B, payload []byte, specs ...Spec) {
	d, err := New(specs...)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	var rs []Reading
	for b.Loop() {
		rs = d.Decode(rs[:0], payload)
	}
	if rs[0].Err != nil {
		b.Fatal(rs[0].Err)
	}
}
