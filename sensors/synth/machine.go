package synth

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/internal/pace"
)

// Machine is a generated machine. It implements [sensors.Source]: Run emits
// vibration bursts, temperature and pressure, every block when its last sample
// is due. Equal Configs give equal samples, at every Run.
type Machine struct {
	cfg Config
	vib vibration
}

var _ sensors.Source = (*Machine)(nil)

// New makes a machine. The error joins every problem of the Config.
func New(cfg Config) (*Machine, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure generated machine %q: %w", cfg.Name, err)
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0))
	p := newProcess(cfg, rng)
	return &Machine{cfg: cfg, vib: newVibration(p, rng)}, nil
}

// Config returns the machine's configuration, defaults filled in.
func (m *Machine) Config() Config { return m.cfg }

// The streams of random numbers; 0 is the machine's own character.
const (
	streamScalars = 1 << 62
	streamBursts  = 1 << 63
)

// rng returns the random numbers of one instant, which do not depend on what
// was asked for before.
func (m *Machine) rng(stream, index uint64) *rand.Rand {
	return rand.New(rand.NewPCG(m.cfg.Seed, stream|index))
}

// Run implements [sensors.Source]. It begins at the machine's start each time.
func (m *Machine) Run(ctx context.Context, emit func(sensors.Block) error) error {
	r := running{Machine: m, emit: emit, start: m.cfg.Start}
	if r.start.IsZero() {
		r.start = time.Now().Truncate(time.Second)
	}
	r.heat.celsius = m.vib.steadyC(0)
	clock := pace.Start(m.cfg.Speed)
	length := time.Duration(float64(m.cfg.BurstSamples) / m.cfg.RateHz * float64(time.Second))
	var scalar, burst time.Duration // when the next ones begin
	for i, j := uint64(0), uint64(0); ; {
		due := min(scalar, burst+length) // whichever is complete first
		if m.cfg.Duration > 0 && due > m.cfg.Duration || !clock.Wait(ctx, due) {
			return nil
		}
		var err error
		if due == scalar {
			err = r.scalars(scalar, i)
			i, scalar = i+1, scalar+m.cfg.ScalarEvery
		} else {
			err = r.burst(burst, j)
			j, burst = j+1, burst+m.cfg.BurstEvery
		}
		if err != nil {
			return err
		}
	}
}

// running is the state of one Run.
type running struct {
	*Machine
	emit  func(sensors.Block) error
	start time.Time
	heat  thermal
}

func (r *running) scalars(at time.Duration, index uint64) error {
	t, rng := at.Seconds(), r.rng(streamScalars, index)
	r.heat.advance(&r.vib.process, t)
	temperature := r.heat.celsius + temperatureNoise*rng.NormFloat64()
	pressure := r.vib.pressurePa(t) + ratedPressurePa*pressureNoisePart*rng.NormFloat64()
	b := sensors.Block{Machine: r.cfg.Name, Channel: Temperature, Start: r.start.Add(at), Samples: []float64{temperature}}
	if err := r.emit(b); err != nil {
		return err
	}
	b.Channel, b.Samples = Pressure, []float64{pressure}
	return r.emit(b)
}

func (r *running) burst(at time.Duration, index uint64) error {
	b := sensors.Block{
		Machine: r.cfg.Name, Channel: Vibration, Start: r.start.Add(at),
		RateHz: r.cfg.RateHz, Samples: make([]float64, r.cfg.BurstSamples),
	}
	r.vib.burst(b.Samples, at.Seconds(), r.rng(streamBursts, index))
	return r.emit(b)
}
