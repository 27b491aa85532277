package strictyaml

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type channel struct {
	Name string  `yaml:"name"`
	Unit string  `yaml:"unit"`
	Rate float64 `yaml:"rate_hz"`
}

type tuning struct {
	Depth int `yaml:"depth"`
}

type config struct {
	Gateway  string            `yaml:"gateway"`
	Deadline time.Duration     `yaml:"deadline"`
	Limit    Size              `yaml:"limit"`
	Publish  bool              `yaml:"publish"`
	Channels []channel         `yaml:"channels"`
	Labels   map[string]string `yaml:"labels"`
	Extra    *channel          `yaml:"extra"`
	Tuning   tuning            `yaml:",inline"`
}

func TestParse_EveryKindOfValue(t *testing.T) {
	got := config{Gateway: "kept", Publish: true}
	_, err := Parse("a.yaml", []byte(`
deadline: 90s
limit: 64MiB
depth: 3
channels:
  - {name: vibration, unit: g, rate_hz: 3200}
  - name: pressure
    unit: bar
labels: {hall: "7"}
extra: {name: spare}
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Gateway: "kept", Publish: true, Deadline: 90 * time.Second, Limit: 64 << 20, Tuning: tuning{Depth: 3},
		Channels: []channel{{"vibration", "g", 3200}, {"pressure", "bar", 0}},
		Labels:   map[string]string{"hall": "7"}, Extra: &channel{Name: "spare"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{}, tuning{})); diff != "" {
		t.Error(diff)
	}
}

// Everything wrong with one file comes in one error, each with its line.
func TestParse_AllProblemsAtOnce(t *testing.T) {
	var c config
	doc, err := Parse("a.yaml", []byte(`gatway: x
deadline: soon
limit: 3MB
publish: maybe
channels:
  - name: v
    units: g
  - unit: [g]
    rate_hz: .nan
gateway: a
gateway: b
labels: 5
`), &c)
	if err == nil {
		t.Fatal("no error")
	}
	doc.Problem("channels[0].unit", "channel has no unit")
	doc.Problem("deadline", "is 0s; it must be longer") // it could not be read, which is said already
	var problems *Problems
	if !errors.As(doc.Err(), &problems) {
		t.Fatalf("got %T, want *Problems", doc.Err())
	}
	want := []string{
		`a.yaml:1: gatway: unknown key; did you mean "gateway"?`,
		`a.yaml:2: deadline: want a duration such as 30s, 5m or 1h30m, got "soon"`,
		`a.yaml:3: limit: want a size such as 512KiB, 64MiB or 2GiB, got "3MB"`,
		`a.yaml:4: publish: want true or false, got "maybe"`,
		`a.yaml:6: channels[0].unit: channel has no unit`,
		`a.yaml:7: channels[0].units: unknown key; did you mean "unit"?`,
		`a.yaml:8: channels[1].unit: want a text, got a list`,
		`a.yaml:9: channels[1].rate_hz: want a finite number, got ".nan"`,
		`a.yaml:11: gateway: key repeated; it is already set in line 10`,
		`a.yaml:12: labels: want a mapping, got a single value ("5")`,
	}
	if diff := cmp.Diff(want, strings.Split(problems.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// Of a file that is no YAML one thing is told: where it ends to be. Checks of the values it
// does not set would only hide that.
func TestParse_NotYAMLIsOneProblem(t *testing.T) {
	var c config
	doc, _ := Parse("a.yaml", []byte("channels: [\n"), &c)
	doc.Problem("gateway", "is missing")
	if err := doc.Err(); err == nil || strings.Contains(err.Error(), "missing") || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("got %v, want the line alone", err)
	}
}

func TestParse_NotYAML(t *testing.T) {
	for name, text := range map[string]string{
		"tab":            "a:\n\t- b\n",
		"two documents":  "gateway: a\n---\ngateway: b\n",
		"a list":         "- 1\n",
		"endless alias":  "extra: &a\n  name: *a\n",
		"unclosed quote": "gateway: \"a\n",
	} {
		t.Run(name, func(t *testing.T) {
			var c config
			_, err := Parse("a.yaml", []byte(text), &c)
			var problems *Problems
			if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), "a.yaml") {
				t.Errorf("got %v, want *Problems naming the file", err)
			}
		})
	}
}

func TestLoad_AbsentFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := Load(path, new(config)); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want os.ErrNotExist naming %s", err, path)
	}
}

func TestParse_EmptyKeepsDefaults(t *testing.T) {
	c := config{Gateway: "kept"}
	if _, err := Parse("a.yaml", []byte("# nothing\n"), &c); err != nil || c.Gateway != "kept" {
		t.Errorf("got %v, %q", err, c.Gateway)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "4096": 4096, "512KiB": 512 << 10, "64 MiB": 64 << 20, "2GiB": 2 << 30, "7B": 7} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q does not survive String: %q → %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1", "3MB", "1e3", "9999999999GiB", "KiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("gateway: a\nchannels: [{name: v}]\n")
	f.Add("extra: &a {name: *a}")
	f.Add("labels: {a: b, ? [c] : d}")
	f.Fuzz(func(t *testing.T, text string) {
		var c config
		doc, err := Parse("f", []byte(text), &c)
		if (err != nil) != (doc.Err() != nil) {
			t.Errorf("Parse says %v, its document says %v", err, doc.Err())
		}
	})
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]Percent{"0%": 0, "25%": 25, "12.5 %": 12.5, "150%": 150} {
		got, err := ParsePercent(text)
		if err != nil || got != want {
			t.Errorf("ParsePercent(%q) = %v, %v, want %v", text, got, err, want)
		}
		if again, err := ParsePercent(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q, which reads %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "%", "25", "0.25", "-1%", "NaN%", "Inf%", "a quarter"} {
		if got, err := ParsePercent(text); err == nil {
			t.Errorf("ParsePercent(%q) = %v, want an error", text, got)
		}
	}
}
