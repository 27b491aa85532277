package decode

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

func mustNew(t testing.TB, specs ...Spec) *Decoder {
	t.Helper()
	d, err := New(specs...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func reason(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestDecoder_OneNumber(t *testing.T) {
	json := func(path string) Spec { return Spec{Format: JSON, Path: path} }
	for _, c := range []struct {
		name    string
		spec    Spec
		payload string
		want    float64
		reason  Reason
	}{
		{"plain", Spec{Format: Scalar}, "21.7", 21.7, ""},
		{"plain with blanks", Spec{Format: Scalar}, " -3e2\r\n", -300, ""},
		{"JSON string", Spec{Format: Scalar}, `"3.1"`, 3.1, ""},
		{"boolean", Spec{Format: Scalar}, "true", 1, ""},
		{"scale and offset", Spec{Format: Scalar, Scale: 0.5, Offset: 10}, "4", 12, ""},
		{"ESPHome without a reading", Spec{Format: Scalar}, "nan", 0, NotFinite},
		{"too big", Spec{Format: Scalar}, "1e999", 0, NotFinite},
		{"scaled beyond a double", Spec{Format: Scalar, Scale: 1e300}, "1e300", 0, NotFinite},
		{"decimal comma", Spec{Format: Scalar}, "21,7", 0, NotNumber},
		{"empty", Spec{Format: Scalar}, "", 0, NotNumber},
		{"object for a scalar", Spec{Format: Scalar}, `{"v":1}`, 0, NotNumber},
		{"nested", json("ENERGY.Power"), `{"Time":"2019-11-03T19:34:28","ENERGY":{"Power":12.5}}`, 12.5, ""},
		{"key with colon", json("params.temperature:0.tC"), `{"params":{"ts":1.5,"temperature:0":{"tC":19.8}}}`, 19.8, ""},
		{"into an array", json("a.1.x"), `{"a":[{"x":1},{"x":2},{"x":3}]}`, 2, ""},
		{"digit as a key", json("a.1"), `{"a":{"0":5,"1":6}}`, 6, ""},
		{"key with a dot", json(`a\.b`), `{"a":{"b":1},"a.b":2}`, 2, ""},
		{"key with escapes", json("µ.ä"), `{"\u00b5":{"\u00e4":7}}`, 7, ""},
		{"same key twice, the last counts", json("v"), `{"v":1,"v":2}`, 2, ""},
		{"battery as text", json("battery_percent"), `{"battery_percent":"98.5"}`, 98.5, ""},
		{"NaN beside a good value", json("b"), `{"a":NaN,"b":2}`, 2, ""},
		{"NaN itself", json("a"), `{"a":NaN,"b":2}`, 0, NotFinite},
		{"-Infinity", json("a"), `{"a":-Infinity}`, 0, NotFinite},
		{"null", json("a"), `{"a":null}`, 0, Absent},
		{"no such path", json("a.b"), `{"a":{"c":1}}`, 0, Absent},
		{"way through a number", json("a.b"), `{"a":1}`, 0, Absent},
		{"an object there", json("a"), `{"a":{"b":1}}`, 0, NotNumber},
		{"words there", json("a"), `{"a":"off"}`, 0, NotNumber},
		{"not JSON", json("a"), `a=1`, 0, Malformed},
		{"cut off", json("a"), `{"a":1`, 0, Malformed},
		{"text behind", json("a"), `{"a":1} x`, 0, Malformed},
		{"empty document", json("a"), ``, 0, Malformed},
		{"hostile depth", json("a"), strings.Repeat("[", 1<<20), 0, Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustNew(t, c.spec).Decode(nil, []byte(c.payload))[0]
			if got := reason(r.Err); got != c.reason || (r.Err != nil) != (c.reason != "") {
				t.Fatalf("error %v (reason %q); want reason %q", r.Err, got, c.reason)
			}
			if c.reason == "" && (len(r.Samples) != 1 || r.Samples[0] != c.want || r.RateHz != 0) {
				t.Errorf("got %v at %v Hz; want %v at 0 Hz", r.Samples, r.RateHz, c.want)
			}
			if c.reason != "" && r.Samples != nil {
				t.Errorf("samples %v beside an error", r.Samples)
			}
		})
	}
}

func int16s(v ...int16) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(x))
	}
	return b
}

func float32s(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func TestDecoder_Runs(t *testing.T) {
	header := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1700000000.25))
	array := Spec{Format: JSONArray, Path: "v", RateHz: 100, TimePath: "t"}
	for _, c := range []struct {
		name    string
		spec    Spec
		payload []byte
		want    []float64
		rate    float64
		time    float64 // Unix seconds
		quality sensors.Quality
		reason  Reason
		lost    int
	}{
		{"int16", Spec{Format: Int16, RateHz: 3200, Scale: 0.5, Offset: 1}, int16s(2, -4), []float64{2, -1}, 3200, 0, 0, "", 0},
		{"int16 at its limit", Spec{Format: Int16, RateHz: 1}, int16s(0, 32767), []float64{0, 32767}, 1, 0, sensors.QualityClipped, "", 0},
		{"float32", Spec{Format: Float32, RateHz: 25600}, float32s(0.5, -2), []float64{0.5, -2}, 25600, 0, 0, "", 0},
		{"float32 with time", Spec{Format: Float32, RateHz: 10, Header: HeaderUnix}, append(header, float32s(1)...), []float64{1}, 10, 1700000000.25, 0, "", 0},
		{"float32 with NaN", Spec{Format: Float32, RateHz: 1}, float32s(1, float32(math.NaN()), 3), nil, 0, 0, 0, NotFinite, 3},
		{"half a sample", Spec{Format: Int16, RateHz: 1}, []byte{1, 2, 3}, nil, 0, 0, 0, Malformed, 0},
		{"nothing", Spec{Format: Float32, RateHz: 1}, nil, nil, 0, 0, 0, Malformed, 0},
		{"half a header", Spec{Format: Float32, RateHz: 1, Header: HeaderUnix}, []byte{1, 2, 3}, nil, 0, 0, 0, Malformed, 0},
		{"array", array, []byte(`{"t":1700000000,"v":[1, -2.5 ,"3"]}`), []float64{1, -2.5, 3}, 100, 1700000000, 0, "", 0},
		{"document is the array", Spec{Format: JSONArray, RateHz: 2}, []byte(`[1,2]`), []float64{1, 2}, 2, 0, 0, "", 0},
		{"rate in the payload", Spec{Format: JSONArray, Path: "v", RatePath: "hz"}, []byte(`{"hz":50,"v":[7]}`), []float64{7}, 50, 0, 0, "", 0},
		{"rate missing", Spec{Format: JSONArray, Path: "v", RatePath: "hz"}, []byte(`{"v":[7,8]}`), nil, 0, 0, 0, Absent, 2},
		{"rate negative", Spec{Format: JSONArray, Path: "v", RatePath: "hz"}, []byte(`{"hz":-1,"v":[7]}`), nil, 0, 0, 0, NotNumber, 0},
		{"empty array", array, []byte(`{"v":[ ]}`), nil, 0, 0, 0, Absent, 0},
		{"null in it", array, []byte(`{"v":[1,null]}`), nil, 0, 0, 0, NotNumber, 2},
		{"NaN in it", array, []byte(`{"v":[1,NaN,3]}`), nil, 0, 0, 0, NotFinite, 3},
		{"array in it", array, []byte(`{"v":[[1]]}`), nil, 0, 0, 0, NotNumber, 1},
		{"no array", array, []byte(`{"v":1}`), nil, 0, 0, 0, NotNumber, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustNew(t, c.spec).Decode(nil, c.payload)[0]
			if reason(r.Err) != c.reason || r.Lost != c.lost {
				t.Fatalf("error %v, %d lost; want reason %q, %d lost", r.Err, r.Lost, c.reason, c.lost)
			}
			if !slices.Equal(r.Samples, c.want) || c.reason == "" && r.RateHz != c.rate || r.Quality != c.quality {
				t.Errorf("got %v at %v Hz, quality %d; want %v at %v Hz, quality %d", r.Samples, r.RateHz, r.Quality, c.want, c.rate, c.quality)
			}
			want := time.Time{}
			if c.time != 0 {
				want = time.UnixMicro(int64(c.time * 1e6)).UTC()
			}
			if !r.Time.Equal(want) {
				t.Errorf("time %v; want %v", r.Time, want)
			}
		})
	}
}

func TestDecoder_SharedTopic(t *testing.T) {
	d := mustNew(t,
		Spec{Format: JSON, Path: "a", TimePath: "t"},
		Spec{Format: JSON, Path: "b.c", TimePath: "t"},
		Spec{Format: JSON, Path: "missing", TimePath: "t"},
		Spec{Format: JSON, Path: "a", Scale: 2, TimePath: "t2", TimeFormat: TimeISO},
	)
	for range 2 { // scratch memory must not leak from one payload into the next
		rs := d.Decode(nil, []byte(`{"t":1700000000123,"a":1,"b":{"c":2},"t2":"2023-11-14 22:13:20"}`))
		if rs[0].Samples[0] != 1 || rs[1].Samples[0] != 2 || reason(rs[2].Err) != Absent || rs[3].Samples[0] != 2 {
			t.Fatalf("got %+v", rs)
		}
		if want := time.UnixMilli(1700000000123); !rs[0].Time.Equal(want) || !rs[1].Time.Equal(want) {
			t.Errorf("times %v, %v; want %v", rs[0].Time, rs[1].Time, want)
		}
		if !rs[3].Time.Equal(time.Unix(1700000000, 0)) || rs[3].Quality != sensors.QualityZoneAssumed {
			t.Errorf("time %v, quality %d; want one taken as UTC", rs[3].Time, rs[3].Quality)
		}
		if rs := d.Decode(nil, []byte(`{"a":3}`)); rs[0].Samples[0] != 3 || !rs[0].Time.IsZero() || rs[0].TimeErr == nil || reason(rs[1].Err) != Absent {
			t.Errorf("second payload: got %+v", rs)
		}
	}
}

func TestDecoder_SamplesAreApart(t *testing.T) {
	d := mustNew(t, Spec{Format: Scalar})
	a := d.Decode(nil, []byte("1"))[0].Samples
	b := d.Decode(nil, []byte("2"))[0].Samples
	if _ = append(a, 99); b[0] != 2 {
		t.Errorf("appending to one reading changed the next to %v", b[0])
	}
}

func TestSpec_Problems(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		spec   Spec
		fields []string
	}{
		{Spec{}, []string{"format"}},
		{Spec{Format: "xml"}, []string{"format"}},
		{Spec{Format: JSON}, []string{"path"}},
		{Spec{Format: JSON, Path: "a..b"}, []string{"path"}},
		{Spec{Format: JSON, Path: `a\`}, []string{"path"}},
		{Spec{Format: Scalar, Path: "a", TimePath: "t"}, []string{"path", "time_path"}},
		{Spec{Format: JSONArray, Path: "v"}, []string{"rate_hz"}},
		{Spec{Format: Int16}, []string{"rate_hz"}},
		{Spec{Format: Float32, RateHz: -1}, []string{"rate_hz"}},
		{Spec{Format: Float32, RateHz: nan, Scale: nan, Offset: math.Inf(1)}, []string{"rate_hz", "scale", "offset"}},
		{Spec{Format: JSON, Path: "a", TimeFormat: "sec"}, []string{"time_format"}},
		{Spec{Format: JSON, Path: "a", Header: HeaderUnix}, []string{"header"}},
		{Spec{Format: Int16, RateHz: 1, Header: "x"}, []string{"header"}},
		{Spec{Format: JSONArray, RatePath: "hz"}, nil},
		{Spec{Format: Int16, RateHz: 1, Header: HeaderUnix}, nil},
	} {
		var got []string
		for _, p := range c.spec.Problems() {
			got = append(got, p.Field)
		}
		if !slices.Equal(got, c.fields) {
			t.Errorf("%+v: problems with %v; want %v", c.spec, got, c.fields)
		}
		if _, err := New(c.spec); (err != nil) != (c.fields != nil) {
			t.Errorf("%+v: New returned %v", c.spec, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	// Expected instants: date -u -d @1583748873 gives 2020-03-09T10:14:33Z.
	base := time.Date(2020, 3, 9, 10, 14, 33, 0, time.UTC)
	for _, c := range []struct {
		text    string
		format  TimeFormat
		want    time.Time
		assumed bool
		bad     bool
	}{
		{"1583748873", TimeAuto, base, false, false},
		{"1583748873", "", base, false, false},
		{"1583748873.125", TimeAuto, base.Add(125 * time.Millisecond), false, false},
		{"1583748873123", TimeAuto, base.Add(123 * time.Millisecond), false, false},
		{"1583748873123456", TimeAuto, base.Add(123456 * time.Microsecond), false, false},
		{"1583748873123456000", TimeAuto, base.Add(123456 * time.Microsecond), false, false},
		{"1583748873", TimeSeconds, base, false, false},
		{"1583748873001", TimeMilliseconds, base.Add(time.Millisecond), false, false},
		{"1583748873000001", TimeMicroseconds, base.Add(time.Microsecond), false, false},
		{"-1.5", TimeSeconds, time.Unix(-2, 500e6), false, false},
		{"2020-03-09T10:14:33Z", TimeAuto, base, false, false},
		{"2020-03-09T12:14:33.5+02:00", TimeAuto, base.Add(500 * time.Millisecond), false, false},
		{"2020-03-09T12:14:33+0200", TimeISO, base, false, false},
		{"2020-03-09T10:14:33", TimeAuto, base, true, false},
		{"2020-03-09 10:14:33.250", TimeAuto, base.Add(250 * time.Millisecond), true, false},
		{"", TimeAuto, time.Time{}, false, true},
		{"yesterday", TimeAuto, time.Time{}, false, true},
		{"2020-13-09T10:14:33Z", TimeAuto, time.Time{}, false, true},
		{"1583748873", TimeISO, time.Time{}, false, true},
		{"2020-03-09T10:14:33Z", TimeSeconds, time.Time{}, false, true},
		{"1e300", TimeSeconds, time.Time{}, false, true},
		{"nan", TimeAuto, time.Time{}, false, true},
	} {
		got, assumed, err := ParseTime(c.text, c.format)
		if (err != nil) != c.bad || !got.Equal(c.want) || assumed != c.assumed {
			t.Errorf("ParseTime(%q, %q) = %v, %v, %v; want %v, %v, error %v", c.text, c.format, got, assumed, err, c.want, c.assumed, c.bad)
		}
	}
}

// A stream of scalars must not cost an allocation a message; AllocsPerRun
// rounds down, which leaves room for the piece that 256 samples share.
func TestDecoder_Allocations(t *testing.T) {
	d := mustNew(t, Spec{Format: JSON, Path: "a.b", TimePath: "t"})
	payload := []byte(`{"t":"2020-03-09T10:14:33Z","a":{"b":"21.7"}}`)
	var rs []Reading
	if n := testing.AllocsPerRun(1000, func() { rs = d.Decode(rs[:0], payload) }); n > 0 || rs[0].Err != nil {
		t.Errorf("%v allocations a payload, error %v; want none", n, rs[0].Err)
	}
}
