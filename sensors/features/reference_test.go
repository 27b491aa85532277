package features

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

// referenceNames are the features of the table below, in its order.
var referenceNames = strings.Fields(`mean std rms peak peak_to_peak crest kurtosis skewness shape impulse clearance
	min max last slope slope_per_minute centroid spread entropy dominant_frequency amp_98 band_10_100
	band_rms_500_1000 velocity_rms`)

// reference was printed by testdata/reference.py (numpy 2.4.6, scipy 1.17.1) for n
// samples at 3200 Hz: a length with many factors, one that is shortened to 3000 for the
// spectrum, and an odd one.
var reference = []struct {
	n    int
	want []float64
}{
	{3200, []float64{
		0.3243818391942028,    // mean
		1.5087192173917119,    // std
		1.5431970886850692,    // rms
		3.415864083454199,     // peak
		5.8911659869161905,    // peak_to_peak
		2.2134982683027196,    // crest
		1.8438932413911608,    // kurtosis
		-0.027936193206150657, // skewness
		1.122808672126362,     // shape
		2.4853350513869783,    // impulse
		2.682729347135507,     // clearance
		-2.475301903461992,    // min
		3.415864083454199,     // max
		0.8660814969319659,    // last
		-0.019362577152592417, // slope
		-1.161754629155545,    // slope_per_minute
		47.437883979758475,    // centroid
		118.06210406633797,    // spread
		0.18503794989110015,   // entropy
		24.496415116142376,    // dominant_frequency
		0.7023590024853763,    // amp_98
		0.17485653158334777,   // band_10_100
		0.16846938095636016,   // band_rms_500_1000
		9.209955426015402,     // velocity_rms
	}},
	{3001, []float64{
		0.2984103422971471,    // mean
		1.5100096373744152,    // std
		1.5392133826580099,    // rms
		3.415864083454199,     // peak
		5.8911659869161905,    // peak_to_peak
		2.219227120774815,     // crest
		1.8334130872687018,    // kurtosis
		-0.003701701802031901, // skewness
		1.1224962728920478,    // shape
		2.49107417177068,      // impulse
		2.689454039403266,     // clearance
		-2.475301903461992,    // min
		3.415864083454199,     // max
		-0.07292841960323262,  // last
		-0.20026476609875515,  // slope
		-12.015885965925309,   // slope_per_minute
		47.40597137780111,     // centroid
		117.85366514035212,    // spread
		0.1869345078636525,    // entropy
		24.49489396851549,     // dominant_frequency
		0.7016515956791392,    // amp_98
		0.1746988259172494,    // band_10_100
		0.16866105743908513,   // band_rms_500_1000
		9.208809333748821,     // velocity_rms
	}},
	{3375, []float64{
		0.3060031901214698,    // mean
		1.509131613983504,     // std
		1.5398429077957831,    // rms
		3.415864083454199,     // peak
		5.8911659869161905,    // peak_to_peak
		2.2183198468887046,    // crest
		1.8400717850797428,    // kurtosis
		-0.010836020295041313, // skewness
		1.1229673269657223,    // shape
		2.4911007088156185,    // impulse
		2.6895480812496193,    // clearance
		-2.475301903461992,    // min
		3.415864083454199,     // max
		-1.4757764692272854,   // last
		-0.11442101962981074,  // slope
		-6.8652611777886445,   // slope_per_minute
		47.46595310480833,     // centroid
		118.21804283154479,    // spread
		0.18423214779524044,   // entropy
		24.49744290836958,     // dominant_frequency
		0.702768821499415,     // amp_98
		0.17497382834234923,   // band_10_100
		0.16817860881019,      // band_rms_500_1000
		9.21067348487819,      // velocity_rms
	}},
}

func TestExtract_Reference(t *testing.T) {
	for _, r := range reference {
		t.Run(fmt.Sprint(r.n), func(t *testing.T) {
			got := extract(t, sensors.Acceleration, window.Regular("c", 3200, signal(r.n, 3200)), referenceNames...)
			for i, want := range r.want {
				if math.Abs(got[i]-want) > 1e-9*math.Max(1, math.Abs(want)) {
					t.Errorf("%s = %.17g, want %.17g", referenceNames[i], got[i], want)
				}
			}
		})
	}
}

// extract returns the named features of one segment.
func extract(t testing.TB, q sensors.Quantity, s window.Segment, names ...string) []float64 {
	t.Helper()
	e, err := New([]ChannelSpec{{Channel: s.Channel, Quantity: q, Features: names}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{s}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
