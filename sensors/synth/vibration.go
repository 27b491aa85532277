package synth

import (
	"math"
	"math/rand/v2"
)

// Amplitudes of acceleration in m/s². A healthy machine of 25 Hz has about
// 1.4 mm/s RMS of velocity; severity 1 of imbalance adds 9 mm/s, of misalignment
// 7 mm/s.
const (
	healthy1x, healthy2x, healthy3x = 0.3, 0.12, 0.06
	vanePass                        = 0.2
	imbalance1x                     = 2.0
	misaligned1x                    = 0.3
	misaligned2x, misaligned3x      = 3.0, 1.5
	impactPeak                      = 12.0
	vibrationNoise                  = 0.15 // standard deviation, white
	loadPart                        = 0.3  // of vane-pass and noise amplitude that follows the load

	slipDeviation   = 0.01 // of the interval between impacts (Randall and Antoni 2011, section 2: 1 to 2 %)
	impactDeviation = 0.1  // of an impact's strength
	loadZone        = 0.5  // Stribeck's ε: half of the ring carries load
)

// vibration is how one machine shakes.
type vibration struct {
	process
	phase     [4]float64 // of 1×, 2×, 3× and vane pass
	size      [4]float64 // of the same, about 1: machines of a kind are not alike
	resonance float64    // Hz
}

func newVibration(p process, rng *rand.Rand) vibration {
	v := vibration{process: p}
	for i := range v.phase {
		v.phase[i] = 2 * math.Pi * rng.Float64()
		v.size[i] = 0.8 + 0.4*rng.Float64()
	}
	v.resonance = p.cfg.ResonanceHz * (0.97 + 0.06*rng.Float64())
	return v
}

// burst fills dst with samples from t0 seconds on.
func (v *vibration) burst(dst []float64, t0 float64, rng *rand.Rand) {
	shaft, load := v.shaftHz(t0), v.load(t0)
	forced := 1 + loadPart*(load-meanLoad)/meanLoad
	// Centrifugal force goes with the square of the speed.
	ratio := shaft / v.cfg.ShaftHz
	whirl := ratio * ratio
	off, skew := v.severity(t0, Imbalance), v.severity(t0, Misalignment)
	amplitude := [4]float64{
		v.size[0] * (healthy1x + imbalance1x*off + misaligned1x*skew) * whirl,
		v.size[1] * (healthy2x + misaligned2x*skew),
		v.size[2] * (healthy3x + misaligned3x*skew),
		v.size[3] * vanePass * forced,
	}
	order := [4]float64{1, 2, 3, float64(v.cfg.Vanes)}
	for i := range dst {
		a := v.angle(t0 + float64(i)/v.cfg.RateHz)
		x := vibrationNoise * forced * rng.NormFloat64()
		for k := range order {
			x += amplitude[k] * math.Sin(order[k]*a+v.phase[k])
		}
		dst[i] = x
	}
	for _, f := range []Kind{OuterRace, InnerRace, Ball} {
		if s := v.severity(t0, f); s > 0 {
			v.impacts(dst, t0, f, s*impactPeak*forced, rng)
		}
	}
}

// impacts adds the ringing after each strike of a bearing fault. The strikes
// are even in shaft angle but for slip; each one excites the housing's
// resonance: a·exp(−ζω·t)·sin(ω√(1−ζ²)·t).
func (v *vibration) impacts(dst []float64, t0 float64, kind Kind, peak float64, rng *rand.Rand) {
	shaft := v.shaftHz(t0) // drifts by less than slip within a burst
	b := v.cfg.Bearing
	var rate float64
	switch kind {
	case OuterRace:
		rate = b.BPFO(shaft)
	case InnerRace:
		rate = b.BPFI(shaft)
	case Ball:
		rate = 2 * b.BSF(shaft)
	}
	omega := 2 * math.Pi * v.resonance
	decay := v.cfg.Damping * omega
	ring := omega * math.Sqrt(1-v.cfg.Damping*v.cfg.Damping)
	length := math.Log(1e4) / decay // until 10⁻⁴ is left
	cage := 2 * math.Pi * rng.Float64()
	end := float64(len(dst)) / v.cfg.RateHz
	// Begin early enough that what rings on from before the burst is heard.
	strike := 0
	for t := -length + rng.Float64()/rate; t < end; t += (1 + slipDeviation*rng.NormFloat64()) / rate {
		a := peak * (1 + impactDeviation*rng.NormFloat64())
		switch kind {
		case InnerRace: // the spot passes the load zone once a turn
			a *= stribeck(v.angle(t0 + t))
		case Ball: // the ball passes it once a turn of the cage
			a *= stribeck(cage + 2*math.Pi*b.FTF(shaft)*t)
			if strike%2 == 1 {
				a *= 0.6 // the strike on the inner race is heard through more joints
			}
		}
		strike++
		first := max(0, int(math.Ceil(t*v.cfg.RateHz)))
		last := min(len(dst), int((t+length)*v.cfg.RateHz)+1)
		for i := first; i < last; i++ {
			dt := float64(i)/v.cfg.RateHz - t
			dst[i] += a * math.Exp(-decay*dt) * math.Sin(ring*dt)
		}
	}
}

// stribeck is the share of the greatest load at angle φ from its direction:
// (1 − (1 − cos φ)/(2ε))^1.5 inside the load zone, 0 outside (R. Stribeck 1901;
// used for fault modulation by P. D. McFadden and J. D. Smith, Journal of Sound
// and Vibration 96 (1984) 69–82).
func stribeck(phi float64) float64 {
	q := 1 - (1-math.Cos(phi))/(2*loadZone)
	if q <= 0 {
		return 0
	}
	return q * math.Sqrt(q)
}
