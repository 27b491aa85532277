package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

func recorded() []sensors.Block {
	at := time.Date(2026, 1, 1, 10, 0, 0, 123456789, time.UTC)
	return []sensors.Block{
		{Machine: "pump-1", Channel: "vibration", Start: at, RateHz: 3200, Samples: []float64{0.1, -9.80665, 1e-300, math.MaxFloat64}, Quality: sensors.QualityGap | sensors.QualityClipped},
		{Machine: "fan \"2\"", Channel: "temperature", Start: at.Add(time.Second), Samples: []float64{-40.5}},
		{Machine: "pump-1", Channel: "vibration", Start: at.Add(2 * time.Second), RateHz: 0.5, Samples: []float64{1}},
	}
}

func record(t testing.TB, w io.Writer, blocks []sensors.Block) {
	t.Helper()
	r, err := NewRecorder(w, RecordingHeader{Gateway: "gw1", Started: time.Unix(1767225600, 0).UTC(), Channels: []RecordedChannel{{"pump-1", "vibration", "g", "m/s2"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := r.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

func read(path string) (blocks []sensors.Block, torn bool, err error) {
	r, err := OpenRecording(path)
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return blocks, r.Torn(), nil
		}
		if err != nil {
			return blocks, false, err
		}
		blocks = append(blocks, b)
	}
}

func TestRecording_ComesBackExactly(t *testing.T) {
	var plain, packed bytes.Buffer
	record(t, &plain, recorded())
	z := gzip.NewWriter(&packed)
	record(t, z, recorded())
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"a.jsonl": plain.String(), "a.jsonl.gz": packed.String()} {
		got, torn, err := read(write(t, name, data))
		if err != nil || torn {
			t.Fatalf("%s: %v, torn %v", name, err, torn)
		}
		if d := cmp.Diff(recorded(), got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if !IsRecording(plain.Bytes()) || IsRecording([]byte(`{"a":1}`)) {
		t.Error("recordings are not told from other files")
	}
}

// A recording is cut off at every byte: the whole lines before it are read.
func TestRecording_CutAnywhere(t *testing.T) {
	var buf bytes.Buffer
	record(t, &buf, recorded())
	whole := buf.String()
	path := filepath.Join(t.TempDir(), "a.jsonl")
	header := strings.IndexByte(whole, '\n')
	for n := len(whole) - 1; n > header; n-- {
		if err := os.WriteFile(path, []byte(whole[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		got, torn, err := read(path)
		lines := strings.Count(whole[:n], "\n") - 1
		complete := whole[n-1] == '\n' || whole[n] == '\n' // only the line's end may be missing
		if whole[n] == '\n' {
			lines++
		}
		if err != nil || len(got) != lines || torn == complete {
			t.Fatalf("cut at %d: %d blocks of %d, torn %v, %v", n, len(got), lines, torn, err)
		}
	}
}

func TestRecording_Mistakes(t *testing.T) {
	var buf bytes.Buffer
	record(t, &buf, recorded())
	for name, c := range map[string]struct{ data, want string }{
		"empty":       {"", "file is empty"},
		"other":       {"a;b\n1;2\n", "a.jsonl:1: not the first line"},
		"format":      {`{"millwright_recording":2}`, "recording has format 2"},
		"no block":    {strings.Replace(buf.String(), `"samples":[-40.5]`, `"samples":["x"]`, 1), "a.jsonl:3: not a block"},
		"empty block": {strings.Replace(buf.String(), `"samples":[-40.5]`, `"samples":[]`, 1), "a.jsonl:3: not a block of a recording: block of fan \"2\"/temperature has no samples"},
	} {
		_, _, err := read(write(t, "a.jsonl", c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := NewPlayer(write(t, "a.jsonl", buf.String()), math.NaN()); err == nil {
		t.Error("a speed of NaN is taken")
	}
	w, err := NewRecorder(io.Discard, RecordingHeader{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(sensors.Block{Machine: "m", Channel: "c", Start: time.Now(), Samples: []float64{math.NaN()}}); err == nil {
		t.Error("NaN is recorded")
	}
}

func TestPlayer_Contract(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		var buf bytes.Buffer
		record(t, &buf, recorded())
		p, err := NewPlayer(write(t, "a.jsonl", buf.String()), 0)
		if err != nil {
			t.Fatal(err)
		}
		return sensortest.Fixture{Source: p, Channels: []string{"pump-1/vibration", `fan "2"/temperature`}}
	})
}

func TestPlayer_Speed(t *testing.T) {
	var buf bytes.Buffer
	record(t, &buf, recorded())
	path := write(t, "a.jsonl", buf.String())
	synctest.Test(t, func(t *testing.T) {
		p, err := NewPlayer(path, 2)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var at []time.Duration
		if err := p.Run(t.Context(), func(sensors.Block) error { at = append(at, time.Since(began)); return nil }); err != nil {
			t.Fatal(err)
		}
		// A block is there with its last sample: 4 at 3200 Hz, one after 1 s, one of
		// 2 s that begins after 2 s; all twice as fast.
		if want := []time.Duration{625 * time.Microsecond, 500 * time.Millisecond, 2 * time.Second}; !cmp.Equal(at, want) {
			t.Errorf("blocks came after %v, want %v", at, want)
		}
	})
}

func FuzzRecording(f *testing.F) {
	var buf bytes.Buffer
	record(f, &buf, recorded())
	f.Add(buf.String())
	f.Add(`{"millwright_recording":1}` + "\n{}")
	f.Fuzz(func(t *testing.T, data string) {
		path := filepath.Join(t.TempDir(), "a.jsonl")
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		blocks, _, _ := read(path)
		for _, b := range blocks {
			if err := b.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
