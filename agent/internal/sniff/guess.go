package sniff

import (
	"math"
	"regexp"
	"strings"
)

// rule guesses a unit by a field's name, in lower case, and its values.
type rule struct {
	name *regexp.Regexp
	unit func(typical float64) string // "": no unit fits
}

func always(unit string) func(float64) string { return func(float64) string { return unit } }

// rules in order of trust: a unit in the name, then a quantity in the name.
var rules = func() []rule {
	var list []rule
	add := func(pattern string, unit func(float64) string) {
		list = append(list, rule{regexp.MustCompile(pattern), unit})
	}
	// Nothing to learn a machine's health from.
	add(`(batt|rssi|lqi|linkquality|signal|snr|uptime|heap|counter|count$|(^|[._ ])(id|seq|sequence|index|version|status|state|day|month|year|line|flag|error|code)$|humid|(^|[._])rh$|dew)`, always(""))
	add(`m/s2|m/s²|mps2|ms2|m_s2`, always("m/s2"))
	add(`in[/_ ]?s(ec)?\b|in_sec|ips`, always("in/s"))
	add(`mm[/_ ]?s(ec)?\b|mm_sec|velocity_mm`, always("mm/s"))
	add(`(acc|accel\w*|vib\w*|rms|peak)[._ (]*m?g(\)|$|[._ ])|_acc_g|\(g\)`, always("g"))
	add(`degc|deg_c|°c|celsius|\btc$|temp\w*_c$`, always("degC"))
	add(`degf|deg_f|°f|fahrenheit|\btf$|temp\w*_f$`, always("degF"))
	add(`kpa`, always("kPa"))
	add(`hpa|mbar`, always("hPa"))
	add(`mpa`, always("MPa"))
	add(`psi`, always("psi"))
	add(`_bar$|\bbar\b`, always("bar"))
	add(`_pa$`, always("Pa"))
	add(`rpm|1/min`, always("rpm"))
	add(`l[/_]?min|lpm`, always("L/min"))
	add(`m3[/_]?h`, always("m3/h"))
	add(`_ma$|milliamp`, always("mA"))
	add(`_mv$|millivolt`, always("mV"))
	add(`kw$`, always("kW"))
	add(`temp|\btherm`, func(x float64) string {
		if x > 200 && x < 500 {
			return "K"
		}
		return "degC"
	})
	add(`press`, func(x float64) string {
		switch x = math.Abs(x); {
		case x > 20000:
			return "Pa"
		case x > 500:
			return "hPa"
		case x > 60:
			return "kPa"
		}
		return "bar"
	})
	add(`crest|kurt|skew`, always("1"))
	add(`veloc|(^|[._ ])v[_-]?rms`, func(x float64) string {
		if math.Abs(x) < 0.1 {
			return "m/s"
		}
		return "mm/s"
	})
	add(`displac`, always("um"))
	add(`accel|vib|(^|[._ ])acc|_acc|a_(rms|peak)`, func(x float64) string {
		if math.Abs(x) > 16 {
			return "m/s2"
		}
		return "g"
	})
	add(`volume.?flow|flow`, always("L/min"))
	add(`torque`, always("Nm"))
	add(`force`, always("N"))
	add(`current|ampere|(^|[._ ])amps?$`, always("A"))
	add(`volt`, always("V"))
	add(`freq|_hz$|speed_hz`, always("Hz"))
	add(`apower|power|watt`, always("W"))
	add(`speed|rotation`, always("rpm"))
	return list
}()

// guessUnit guesses the unit of a field by its name, the words around it and a typical
// value. It is "" when nothing fits.
func guessUnit(name string, typical float64) string {
	name = strings.ToLower(name)
	for _, r := range rules {
		if r.name.MatchString(name) {
			return r.unit(typical)
		}
	}
	return ""
}

// timeName and rateName are fields that tell when, and how fast.
var (
	timeName = regexp.MustCompile(`(?i)^(ts|t|time|timestamp|time_stamp|datetime|date|received|at|epoch)(_?ms|_?s|_?us)?$`)
	rateName = regexp.MustCompile(`(?i)^(rate|rate_hz|fs|fs_hz|odr|sample_?rate(_hz)?|sampling_?rate(_hz)?|samplerate)$`)
	// notSensors are topics about devices, not of measurements.
	notSensors = regexp.MustCompile(`(^\$SYS/|^homeassistant/|^millwright/|/(LWT|availability|STATE|INFO\d*|RESULT|status|online|command|set|get|debug|config|logging|bridge)(/|$)|/rpc/|/NCMD/|/DCMD/|/NDEATH/|/DDEATH/|^zigbee2mqtt/bridge/|^stat/|^cmnd/)`)
)

// niceRates are sampling rates that converters have.
var niceRates = []float64{
	1, 2, 5, 10, 12.5, 20, 25, 50, 100, 125, 200, 250, 256, 400, 500, 512, 800, 1000, 1024, 1344, 1600, 2000, 2048, 2500, 2560, 3200, 3300, 4000,
	4096, 5000, 5120, 5376, 6400, 6600, 6667, 8000, 8192, 10000, 10240, 12000, 12800, 16000, 20000, 20480, 25000, 25600, 26667, 32000, 40000,
	44100, 48000, 50000, 51200, 64000, 96000, 100000, 102400,
}

// nearRate returns the usual sampling rate near x, or x itself to three digits.
func nearRate(x float64) float64 {
	for _, r := range niceRates {
		if math.Abs(x-r) <= 0.03*r {
			return r
		}
	}
	if x <= 0 {
		return 0
	}
	scale := math.Pow(10, math.Floor(math.Log10(x))-2)
	return math.Round(x/scale) * scale
}
