package decode

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millwright-iot/millwright/sensors"
)

// show writes readings as "spec:samples@rate+seconds", or "spec:reason".
func show(rs []Reading) string {
	var out []string
	for _, r := range rs {
		text := fmt.Sprintf("%d:%v", r.Spec, r.Samples)
		if r.Err != nil {
			text = fmt.Sprintf("%d:%s", r.Spec, reason(r.Err))
		}
		if r.RateHz > 0 {
			text += fmt.Sprintf("@%v", r.RateHz)
		}
		if !r.Time.IsZero() {
			text += fmt.Sprintf("+%v", float64(r.Time.UnixMilli())/1000)
		}
		if r.Ago != 0 {
			text += "-" + r.Ago.String()
		}
		if r.Unit != "" {
			text += " " + r.Unit
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestDecoder_CSV(t *testing.T) {
	csv := Spec{Format: CSV}
	with := func(change func(*Spec)) Spec { s := csv; change(&s); return s }
	for _, c := range []struct {
		name, payload string
		spec          Spec
		want          string
	}{
		{"one number", "21.7\n", csv, "0:[21.7]"},
		{"second column", "a;\"21,7\";x", with(func(s *Spec) { s.Path, s.Delimiter = "1", ";" }), "0:[21.7]"},
		{"by name", "t,temp\r\n1700000000,21.5\r\n1700000001,22\r\n", with(func(s *Spec) { s.Path, s.TimePath = "temp", "t" }), "0:[21.5]+1.7e+09, 0:[22]+1.700000001e+09"},
		{"by place with names above", "t,temp\n1700000000,21.5", with(func(s *Spec) { s.Path, s.TimePath = "1", "0" }), "0:[21.5]+1.7e+09"},
		{"a run", "\ufefft,v\n1700000000,1\n,2\n\n,3", with(func(s *Spec) { s.Path, s.TimePath, s.RateHz, s.Scale = "v", "t", 10, 2 }), "0:[2 4 6]@10+1.7e+09"},
		{"quoted line end", "\"note\nof two lines\",v\nx,4", with(func(s *Spec) { s.Path = "v" }), "0:[4]"},
		{"several without time or rate", "1\n2", csv, "0:malformed"},
		{"no such column", "a,b\n1,2", with(func(s *Spec) { s.Path = "c" }), "0:absent"},
		{"short row", "1,2\n3", with(func(s *Spec) { s.Path, s.RateHz = "1", 5 }), "0:absent"},
		{"word", "1\nx", with(func(s *Spec) { s.RateHz = 5 }), "0:not_number"},
		{"NaN", "NaN", csv, "0:not_finite"},
		{"empty", "", csv, "0:absent"},
		{"names only", "a\n", csv, "0:absent"},
	} {
		if got := show(mustNew(t, c.spec).Decode(nil, []byte(c.payload))); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}

func TestDecoder_TimeZone(t *testing.T) {
	json := Spec{Format: JSON, Path: "v", TimePath: "t", TimeZone: "+02:00"}
	csv := Spec{Format: CSV, Path: "1", TimePath: "0", TimeZone: "+02:00"}
	want := time.Date(2024, 7, 1, 10, 0, 0, 0, time.UTC)
	for _, r := range []Reading{
		mustNew(t, json).Decode(nil, []byte(`{"t":"2024-07-01T12:00:00","v":1}`))[0],
		mustNew(t, json).Decode(nil, []byte(`{"t":"2024-07-01T10:00:00Z","v":1}`))[0], // its own zone counts
		mustNew(t, csv).Decode(nil, []byte("2024-07-01 12:00:00,1"))[0],
	} {
		if !r.Time.Equal(want) || r.Quality&sensors.QualityZoneAssumed != 0 {
			t.Errorf("got %v, quality %d; want %v", r.Time, r.Quality, want)
		}
	}
}

// The first packs are the examples of RFC 8428, sections 5.1.1 to 5.1.4.
func TestDecoder_SenML(t *testing.T) {
	spec := func(path string) Spec { return Spec{Format: SenML, Path: path} }
	for _, c := range []struct {
		name, payload string
		specs         []Spec
		want          string
	}{
		{"single datapoint", `[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]`, []Spec{spec("urn:dev:ow:10e2073a01080063")}, "0:[23.1] Cel"},
		{"base name", `[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]`,
			[]Spec{spec("urn:dev:ow:10e2073a01080063:current"), spec("voltage")}, "1:[120.1] V, 0:[1.2] A"},
		{"relative times", `[{"bn":"d:","bt":-10,"bu":"A","n":"i","t":-5,"v":1},{"n":"i","v":2}]`, []Spec{spec("i")}, "0:[1]-15s A, 0:[2]-10s A"},
		{"a run", `[{"bn":"d:","bt":1.7e9,"n":"i","v":1},{"n":"i","t":0.1,"v":2}]`, []Spec{{Format: SenML, Path: "i", RateHz: 10}}, "0:[1 2]@10+1.7e+09"},
		{"base value and boolean", `[{"bv":100,"n":"a","v":0.5},{"n":"b","vb":true}]`, []Spec{spec("a"), spec("b")}, "0:[100.5], 1:[1]"},
		{"text for a number", `[{"n":"a","vs":"on"}]`, []Spec{spec("a")}, "0:not_number"},
		{"another name", `[{"n":"a","v":1}]`, []Spec{spec("b")}, "0:absent"},
		{"empty", `[]`, []Spec{spec("b")}, "0:absent"},
		{"no pack", `{"n":"a","v":1}`, []Spec{spec("a")}, "0:malformed"},
		{"half a pack", `[{"n":"a","v":1},{"n":"a"`, []Spec{spec("a")}, "0:malformed"},
		{"comma at the end", `[{"n":"a","v":1},]`, []Spec{spec("a")}, "0:malformed"},
		{"base time of text", `[{"bt":"now","n":"a","v":1}]`, []Spec{spec("a")}, "0:malformed"},
		{"a version to come", `[{"bver":11,"n":"a","v":1}]`, []Spec{spec("a")}, "0:malformed"},
	} {
		if got := show(mustNew(t, c.specs...).Decode(nil, []byte(c.payload))); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}

// profilePayloads are seeds: one payload of each family, and broken ones.
func profilePayloads() [][]byte {
	var metric []byte
	metric = protowire.AppendString(protowire.AppendTag(metric, 1, protowire.BytesType), "x")
	metric = protowire.AppendVarint(protowire.AppendTag(metric, 2, protowire.VarintType), 3)
	metric = protowire.AppendVarint(protowire.AppendTag(metric, 4, protowire.VarintType), 9)
	metric = protowire.AppendFixed32(protowire.AppendTag(metric, 12, protowire.Fixed32Type), math.Float32bits(1.5))
	spark := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1700000000000)
	spark = protowire.AppendBytes(protowire.AppendTag(spark, 2, protowire.BytesType), metric)
	spark = protowire.AppendVarint(protowire.AppendTag(spark, 3, protowire.VarintType), 7)
	seeds := [][]byte{spark, spark[:len(spark)-3], SparkplugRebirth(time.UnixMilli(1700000000000))}
	for _, s := range []string{
		`{"Time":"2019-11-03T19:34:28","BME280":{"Temperature":21.7,"Pressure":988.6},"TempUnit":"C"}`,
		`{"temperature": 27.34,"humidity": 44.72}`, `{"params":{"ts":1680962879.62,"temperature:0":{"tC":19.8}}}`, "41.25",
		`{"battery":"3.28","sensor_data":{"odr":"800Hz","x_rms_ACC_G":0.086},"received":1675255870737}`,
		`{"v_Rms":0.0021,"Crest":4.1}`, `{"Temperature (°F)":98.6}`, "t;x\n2024-01-01 00:00:00;1,5\n;2\n", "\"a\n\",x\r\n1,2",
		`[{"bn":"d:","bt":-1,"bu":"A","n":"x","v":1.2},{"n":"x","t":-5,"vb":false}]`, `[{"bt":1e308,"n":"x","t":1e308,"v":1}]`,
		`{"id":1,"part":0,"of":2,"hz":"25.6 kHz","x":[1,2,3],"u":"g"}`, "\x07\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02",
		strings.Repeat("[", 300), "\xff\xfe", "abc",
	} {
		seeds = append(seeds, []byte(s))
	}
	return seeds
}

// FuzzFormats feeds any payload to all formats that a profile uses: no panic, no
// change of the payload, and each reading is good or has a reason.
func FuzzFormats(f *testing.F) {
	for _, s := range profilePayloads() {
		f.Add(s)
	}
	low := -100.0
	specs := []Spec{
		{Format: CSV, Path: "x", TimePath: "t", Delimiter: ";"}, {Format: CSV, Path: "1", RateHz: 10},
		{Format: SenML, Path: "x"}, {Format: SenML, Path: "d:x", RateHz: 5, Min: &low},
		{Format: Sparkplug, Path: "x", RateHz: 5},
		{Format: JSONArray, Path: "x", RatePath: "hz", UnitPath: "u", BurstPath: "id", PartPath: "part", PartsPath: "of"},
		{Format: Int16, RateHz: 1, Header: HeaderChunk}, {Format: JSON, Path: "sensor_data.x_rms_ACC_G", TimePath: "received", TimeZone: "+01:00"},
	}
	d := mustNew(f, specs...)
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := string(payload)
		_, _ = ReadSparkplugHead(payload, true)
		for _, born := range []bool{false, true} {
			d.Death()
			if born && d.Birth(payload) != nil {
				continue
			}
			seen := make([]bool, len(specs))
			for _, r := range d.Decode(nil, payload) {
				seen[r.Spec] = true
				if r.Err != nil {
					if reason(r.Err) == "" || r.Samples != nil || r.Lost < 0 {
						t.Errorf("spec %d: error %v without a reason, or with samples, %d lost", r.Spec, r.Err, r.Lost)
					}
					continue
				}
				if len(r.Samples) == 0 || len(r.Samples) > 1 && r.RateHz <= 0 || r.Parts > 0 && r.Part >= r.Parts || r.Parts > MaxParts {
					t.Errorf("spec %d: %d samples at %v Hz, part %d of %d", r.Spec, len(r.Samples), r.RateHz, r.Part, r.Parts)
				}
				for _, x := range r.Samples {
					if math.IsNaN(x) || math.IsInf(x, 0) || specs[r.Spec].Min != nil && x < low {
						t.Errorf("spec %d: sample %v", r.Spec, x)
					}
				}
			}
			for i, ok := range seen {
				if !ok {
					t.Errorf("spec %d has no reading", i)
				}
			}
		}
		if string(payload) != before {
			t.Error("payload was changed")
		}
	})
}

func BenchmarkDecoder_SenML(b *testing.B) {
	benchmarkDecode(b, []byte(`[{"bn":"d:","bt":1.7e9,"bu":"Cel","n":"temp","v":23.1},{"n":"hum","u":"%RH","v":44}]`), Spec{Format: SenML, Path: "temp"}, Spec{Format: SenML, Path: "hum"})
}

func BenchmarkDecoder_CSV(b *testing.B) {
	benchmarkDecode(b, []byte("1700000000.250;79,3366;26.0199\n"), Spec{Format: CSV, Path: "1", TimePath: "0", Delimiter: ";"})
}

func BenchmarkDecoder_Sparkplug(b *testing.B) {
	benchmarkDecode(b, profilePayloads()[0], Spec{Format: Sparkplug, Path: "x"})
}

// Decoding allocates for samples only, in pieces of 256.
func TestDecoder_FormatAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		payload []byte
		spec    Spec
	}{
		"csv":       {[]byte("1700000000.250;79,3366\n"), Spec{Format: CSV, Path: "1", TimePath: "0", Delimiter: ";"}},
		"senml":     {[]byte(`[{"bn":"d:","bt":1.7e9,"bu":"Cel","n":"temp","v":23.1}]`), Spec{Format: SenML, Path: "temp"}},
		"sparkplug": {profilePayloads()[0], Spec{Format: Sparkplug, Path: "x"}},
	} {
		d := mustNew(t, c.spec)
		var rs []Reading
		if n := testing.AllocsPerRun(2000, func() { rs = d.Decode(rs[:0], c.payload) }); n >= 1 {
			t.Errorf("%s: %v allocations a payload; want none", name, n)
		}
		if rs[0].Err != nil {
			t.Errorf("%s: %v", name, rs[0].Err)
		}
	}
}

// Expected numbers: Python's struct.unpack(">…", bytes.fromhex("00fffe80000000c2ed4000")[at:]).
func TestDecoder_Hex(t *testing.T) {
	const payload = `{"pd":"00FFfe80000000C2ED4000"}`
	for _, c := range []struct {
		hex  string
		want float64
	}{
		{"int8@1", -1}, {"uint8@1", 255}, {"int16@1", -2}, {"uint16@1", 65534}, {"int32@3", math.MinInt32}, {"uint32@3", 1 << 31},
		{"float32@7", -118.625},
	} {
		d, err := New(Spec{Format: JSON, Path: "pd", Hex: c.hex})
		if err != nil {
			t.Fatal(err)
		}
		if r := d.Decode(nil, []byte(payload))[0]; r.Err != nil || r.Samples[0] != c.want {
			t.Errorf("%s: got %v, %v; want %v", c.hex, r.Samples, r.Err, c.want)
		}
	}
	for _, c := range []struct {
		hex, payload string
		want         Reason
	}{
		{"int16@10", payload, Malformed}, {"int16@0", `{"pd":"00F"}`, Malformed}, {"int16@0", `{"pd":"00gg"}`, NotNumber},
		{"int16@0", `{"pd":null}`, Absent}, {"float32@0", `{"pd":"7fc00000"}`, NotFinite},
	} {
		d, err := New(Spec{Format: JSON, Path: "pd", Hex: c.hex})
		if err != nil {
			t.Fatal(err)
		}
		if r := d.Decode(nil, []byte(c.payload))[0]; reason(r.Err) != c.want || r.Samples != nil {
			t.Errorf("%s of %s: got %v, %v; want %s", c.hex, c.payload, r.Samples, r.Err, c.want)
		}
	}
	for _, bad := range []string{"int16", "@4", "int24@0", "int16@-1", "int16@9999", "int16@x"} {
		if (Spec{Format: JSON, Path: "pd", Hex: bad}).Validate() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if (Spec{Format: Int16, RateHz: 1, Hex: "int16@0"}).Validate() == nil {
		t.Error("a binary burst of hexadecimal text is taken")
	}
}
