package sniff

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// generic proposes channels for a topic of no known family. last is the topic's last
// level.
func generic(t *Topic, last string) (channels []Channel, kind string) {
	p := t.Payloads[0]
	if !utf8.Valid(p) || slices.Contains(p, 0) {
		return burst(t, last)
	}
	if _, ok := reads(decode.Spec{Format: decode.Scalar}, "", t.Payloads); ok {
		return []Channel{scalar(t, last)}, "scalar"
	}
	switch strings.TrimSpace(string(p[:min(len(p), 64)]))[:1] {
	case "{", "[":
		if records := senmlNames(p); len(records) > 0 {
			return senml(t, records), "senml"
		}
		if list := document(t, last); len(list) > 0 {
			return list, "json"
		}
		return nil, "json without numbers"
	}
	if strings.ContainsAny(string(p), ",;\t") {
		if list := table(t); len(list) > 0 {
			return list, "csv"
		}
	}
	return nil, "text"
}

// finish completes a channel whose unit is guessed, with an example of what it reads.
func finish(c Channel, t *Topic) (Channel, bool) {
	var ok bool
	c.Example, ok = reads(c.Spec, c.Unit, t.Payloads)
	if !ok {
		return c, false
	}
	if c.Unit == "" || !knownUnit(c.Unit) {
		c.Unit, c.Missing = "", "the unit could not be guessed"
	}
	return c, true
}

func scalar(t *Topic, last string) Channel {
	var values []float64
	for _, p := range t.Payloads {
		if x, ok := number(strings.Trim(string(p), `" `)); ok {
			values = append(values, x)
		}
	}
	c, _ := finish(Channel{
		Name: channelName(last), Topic: t.Name, Unit: guessUnit(last, typical(values)), Spec: decode.Spec{Format: decode.Scalar},
	}, t)
	return c
}

// document proposes the numbers of JSON documents, of all payloads together: some
// devices send only what changed.
func document(t *Topic, last string) []Channel {
	values := map[string][]float64{}
	arrays := map[string]int{}
	var base decode.Spec
	for _, p := range t.Payloads {
		for _, l := range leaves(p) {
			key := lastKey(l.path)
			if base.TimePath == "" && timeName.MatchString(key) && plausibleTime(l.value) {
				base.TimePath = l.path
				continue
			}
			if a, ok := l.value.([]float64); ok {
				arrays[l.path] = len(a)
				values[l.path] = append(values[l.path], a...)
				continue
			}
			if rateName.MatchString(key) {
				base.RatePath = l.path
				continue
			}
			if x, ok := number(l.value); ok && l.path != base.TimePath {
				values[l.path] = append(values[l.path], x)
			}
		}
	}
	var list []Channel
	for _, path := range sortedKeys(values) {
		if path == base.TimePath {
			continue
		}
		c := Channel{Name: channelName(lastKey(path)), Topic: t.Name, Unit: guessUnit(words(last, path), typical(values[path]))}
		c.Spec = decode.Spec{Format: decode.JSON, Path: path, TimePath: base.TimePath}
		if n, ok := arrays[path]; ok {
			c.Spec.Format, c.Spec.RatePath = decode.JSONArray, base.RatePath
			if c.Spec.RatePath == "" {
				c.rate(n, t)
			}
			if path == "" || vague.MatchString(c.Name) || c.Name == "samples" || c.Name == "unnamed" {
				c.Name = channelName(last)
			}
		}
		if path == "" {
			c.Name = channelName(last)
		}
		if c, ok := finish(c, t); ok {
			list = append(list, c)
		}
	}
	return list
}

func lastKey(path string) string { return last(path) }

// words is what the name of a value says: its own path, or the topic for one that says
// nothing.
func words(level, path string) string {
	if path == "" || vague.MatchString(lastKey(path)) || lastKey(path) == "samples" {
		return level + " " + path
	}
	return path
}

// rate sets the sampling rate of a run of n samples by how often it comes.
func (c *Channel) rate(n int, t *Topic) {
	hz := nearRate(float64(n) * t.PerSecond())
	if hz > 0 && !math.IsInf(hz, 0) {
		c.Spec.RateHz = hz
		return
	}
	c.Spec.RateHz, c.Missing = 1, "rate_hz could not be measured: too few messages"
}

// plausibleTime reports whether a value can be the time of a measurement.
func plausibleTime(v any) bool {
	text, ok := v.(string)
	if !ok {
		x, isNumber := v.(float64)
		if !isNumber {
			return false
		}
		text = fmt.Sprintf("%.6f", x)
	}
	at, _, err := decode.ParseTime(text, decode.TimeAuto)
	return err == nil && at.Year() >= 2000 && at.Year() < 2100
}

// table proposes the columns of CSV.
func table(t *Topic) []Channel {
	text := string(t.Payloads[0])
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	delimiter := ","
	for _, d := range []string{";", "\t"} {
		if strings.Count(first, d) > strings.Count(first, delimiter) {
			delimiter = d
		}
	}
	var list []Channel
	spec := decode.Spec{Format: decode.CSV}
	if delimiter != "," {
		spec.Delimiter = delimiter
	}
	cells := strings.Split(strings.TrimSpace(first), delimiter)
	_, headless := number(strings.ReplaceAll(cells[len(cells)-1], ",", "."))
	for _, cell := range cells {
		if name := strings.Trim(strings.TrimSpace(cell), `"`); !headless && timeName.MatchString(name) {
			spec.TimePath = name
		}
	}
	for i, cell := range cells {
		one, name := spec, strings.Trim(strings.TrimSpace(cell), `"`)
		if one.Path = name; headless {
			one.Path = fmt.Sprint(i)
			name = fmt.Sprintf("column_%d", i)
		}
		if one.Path == spec.TimePath && spec.TimePath != "" {
			continue
		}
		c := Channel{Name: channelName(name), Topic: t.Name, Unit: guessUnit(name, 0), Spec: one}
		if c, ok := finish(c, t); ok {
			list = append(list, c)
		}
	}
	return list
}

// burst tells the binary formats apart.
func burst(t *Topic, last string) ([]Channel, string) {
	for _, header := range []decode.Header{"", decode.HeaderUnix} {
		body := t.Payloads[0]
		if header != "" {
			if len(body) < 16 {
				continue
			}
			seconds := math.Float64frombits(binary.LittleEndian.Uint64(body))
			if !(seconds > 946684800 && seconds < 4102444800) { // 2000 to 2100
				continue
			}
			body = body[8:]
		} else if len(body) >= 16 {
			if s := math.Float64frombits(binary.LittleEndian.Uint64(body)); s > 946684800 && s < 4102444800 && near(s, t.First) {
				continue // the header is more likely than a sample of 1.7e9
			}
		}
		width, format := 2, decode.Int16
		if plausibleFloats(body) {
			width, format = 4, decode.Float32
		}
		if len(body) < 16 || len(body)%width != 0 {
			continue
		}
		c := Channel{Name: channelName(last), Topic: t.Name, Unit: guessUnit(last, 0), Spec: decode.Spec{Format: format, Header: header}}
		c.rate(len(body)/width, t)
		missing := c.Missing
		if format == decode.Int16 {
			missing = strings.TrimPrefix(missing+"; scale must be looked up: what is one count?", "; ")
		}
		if c, ok := finish(c, t); ok {
			if missing != "" {
				c.Missing = strings.TrimPrefix(c.Missing+"; "+missing, "; ")
			}
			return []Channel{c}, string(format)
		}
	}
	return nil, "binary of unknown format"
}

func near(seconds float64, at time.Time) bool {
	return at.IsZero() || math.Abs(seconds-float64(at.Unix())) < 366*86400*10
}

// plausibleFloats reports whether bytes look like little-endian singles: finite, and of
// sizes that a measurement has. Integers read as singles are not: their exponents are
// all over the place.
func plausibleFloats(b []byte) bool {
	if len(b) < 16 || len(b)%4 != 0 {
		return false
	}
	good, n := 0, len(b)/4
	for i := range n {
		x := math.Abs(float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))))
		if x == 0 || x > 1e-7 && x < 1e7 {
			good++
		}
	}
	return float64(good) >= 0.98*float64(n)
}
