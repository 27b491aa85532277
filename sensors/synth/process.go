package synth

import (
	"math"
	"math/rand/v2"
	"time"
)

// Plausible figures of a small pump.
const (
	meanLoad = 0.6 // of the rated load

	motorSlip = 0.03 // by which an induction motor is slower at rated load

	ambientC         = 22.0
	heatAtRatedLoadC = 35.0 // steady rise of the housing at rated load
	heatOfBearingC   = 15.0 // steady rise through friction of a bearing fault of severity 1
	heatOfShaftC     = 4.0  // the same for imbalance or misalignment
	temperatureNoise = 0.05 // °C, standard deviation

	ratedPressurePa   = 4e5
	pressureDrop      = 0.35 // of the rated pressure, from no load to rated load
	ripple            = 0.02 // amplitude at vane pass, of the rated pressure
	pressureNoisePart = 0.002
)

// process is the slow life of a machine: load, speed, temperature, pressure.
type process struct {
	cfg    Config
	phases []float64 // of the load swings
	vane   float64   // phase of the ripple
}

func newProcess(cfg Config, rng *rand.Rand) process {
	p := process{cfg: cfg, vane: 2 * math.Pi * rng.Float64()}
	for range cfg.LoadSwings {
		p.phases = append(p.phases, 2*math.Pi*rng.Float64())
	}
	return p
}

// load is the fraction of the rated load at t seconds.
func (p *process) load(t float64) float64 {
	l := meanLoad
	for i, s := range p.cfg.LoadSwings {
		l += s.Amplitude * math.Sin(2*math.Pi*t/s.Period.Seconds()+p.phases[i])
	}
	return l
}

// shaftHz is the speed of the shaft: an induction motor slips under load.
func (p *process) shaftHz(t float64) float64 {
	return p.cfg.ShaftHz * (1 - motorSlip*p.load(t))
}

// angle is the shaft's angle in radians, the integral of 2π·shaftHz from 0 to t,
// in closed form so that any burst can be made without those before it.
func (p *process) angle(t float64) float64 {
	turns := meanLoad * t
	for i, s := range p.cfg.LoadSwings {
		period := s.Period.Seconds()
		turns += s.Amplitude * period / (2 * math.Pi) * (math.Cos(p.phases[i]) - math.Cos(2*math.Pi*t/period+p.phases[i]))
	}
	return 2 * math.Pi * p.cfg.ShaftHz * (t - motorSlip*turns)
}

// severity adds up the faults of the given kinds at t seconds.
func (p *process) severity(t float64, kinds ...Kind) float64 {
	sum := 0.0
	for _, f := range p.cfg.Faults {
		for _, k := range kinds {
			if f.Kind == k {
				sum += f.At(time.Duration(t * float64(time.Second)))
			}
		}
	}
	return sum
}

// steadyC is the temperature the housing would settle at.
func (p *process) steadyC(t float64) float64 {
	return ambientC + heatAtRatedLoadC*p.load(t) +
		heatOfBearingC*p.severity(t, OuterRace, InnerRace, Ball) +
		heatOfShaftC*p.severity(t, Imbalance, Misalignment)
}

// thermal is a first-order lag: τ·dT/dt = T_steady − T. It starts in balance.
type thermal struct {
	celsius float64
	at      float64 // seconds
}

// advance moves the state to t seconds, in steps a fraction of τ long, each
// exact for a steady temperature that is constant within it.
func (h *thermal) advance(p *process, t float64) {
	tau := p.cfg.ThermalLag.Seconds()
	steps := max(1, math.Ceil((t-h.at)/(tau/50)))
	dt := (t - h.at) / steps
	for i := range int(steps) {
		mid := h.at + (float64(i)+0.5)*dt
		h.celsius += (p.steadyC(mid) - h.celsius) * (1 - math.Exp(-dt/tau))
	}
	h.at = t
}

// pressurePa is the outlet pressure without noise: the pump's curve falls with
// load, and each vane that passes the tongue adds a pulse.
func (p *process) pressurePa(t float64) float64 {
	return ratedPressurePa * (1 + pressureDrop*(meanLoad-p.load(t)) + ripple*math.Sin(float64(p.cfg.Vanes)*p.angle(t)+p.vane))
}
