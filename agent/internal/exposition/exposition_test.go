package exposition

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// parse reads the text with Prometheus's own parser.
func parse(t testing.TB, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families
}

func TestSet_PrometheusReadsWhatWasAdded(t *testing.T) {
	one := &Desc{Name: "a_total", Help: "Back\\slash\nand line.", Labels: []string{"x", "y"}}
	two := &Desc{Name: "b", Help: "None."}
	awkward := "q\"uote \\ new\nline \xff ü"
	var s Set
	s.Add(two, Gauge, math.Inf(1))
	s.Add(one, Counter, 1e18, awkward, "2")
	s.Add(one, Counter, 0.1, "", "1")
	got := parse(t, string(s.Append(nil)))
	if f := got["a_total"]; f.GetType() != dto.MetricType_COUNTER || f.GetHelp() != one.Help || len(f.Metric) != 2 {
		t.Fatalf("family is %v", f)
	}
	if m := got["a_total"].Metric[0]; m.GetCounter().GetValue() != 0.1 || m.Label[0].GetValue() != "" || m.Label[1].GetValue() != "1" {
		t.Errorf("first sample is %v", m)
	}
	if m := got["a_total"].Metric[1]; m.GetCounter().GetValue() != 1e18 || m.Label[0].GetValue() != strings.ToValidUTF8(awkward, "\uFFFD") {
		t.Errorf("second sample is %v", m)
	}
	if m := got["b"].Metric[0]; !math.IsInf(m.GetGauge().GetValue(), 1) {
		t.Errorf("gauge is %v", m)
	}
}

func TestHandler_Process(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(Process).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, _ := io.ReadAll(w.Result().Body)
	got := parse(t, string(body))
	if w.Result().Header.Get("Content-Type") != ContentType {
		t.Errorf("content type is %q", w.Result().Header.Get("Content-Type"))
	}
	value := func(name string) float64 {
		f := got[name]
		if f == nil || len(f.Metric) != 1 {
			t.Fatalf("%s is %v", name, f)
		}
		return f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
	}
	if n := value("go_goroutines"); n < 1 || n > 1000 {
		t.Errorf("%v goroutines", n)
	}
	if runtime.GOOS == "linux" {
		if rss := value("process_resident_memory_bytes"); rss < 1<<20 || rss > 1<<32 {
			t.Errorf("%v bytes resident", rss)
		}
		if n := value("process_open_fds"); n < 3 {
			t.Errorf("%v files open", n)
		}
	}
}

func FuzzSet(f *testing.F) {
	f.Add("help", "value", 1.5)
	f.Add("\\\n", "\"\\\n\x00\xff", math.NaN())
	f.Fuzz(func(t *testing.T, help, value string, x float64) {
		d := &Desc{Name: "m", Help: help, Labels: []string{"l"}}
		var s Set
		s.Add(d, Gauge, x, value)
		m := parse(t, string(s.Append(nil)))["m"].Metric[0]
		if got := m.GetGauge().GetValue(); got != x && !(math.IsNaN(got) && math.IsNaN(x)) {
			t.Errorf("%v became %v", x, got)
		}
		if got := m.Label[0].GetValue(); got != strings.ToValidUTF8(value, "\uFFFD") {
			t.Errorf("%q became %q", value, got)
		}
	})
}
