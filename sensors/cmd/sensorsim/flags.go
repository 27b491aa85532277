package main

import (
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/millwright-iot/millwright/sensors/synth"
)

// passwordVariable is the environment's way to say --password.
const passwordVariable = "SENSORSIM_PASSWORD"

// brokerFlags begin with what b holds.
func brokerFlags(f *pflag.FlagSet, b *Broker) {
	f.StringVar(&b.URL, "broker", b.URL, "Broker, as tcp://host:1883 or ssl://host:8883.")
	f.StringVar(&b.Username, "username", "", "User name at the broker.")
	f.StringVar(&b.Password, "password", "", "Password at the broker (or $"+passwordVariable+").")
	f.StringVar(&b.CA, "ca", "", "PEM `file` of the CA that signed the broker's certificate.")
	f.StringVar(&b.TopicPrefix, "topic-prefix", b.TopicPrefix, "First part of every topic: <prefix>/<machine>/<channel>.")
	f.IntVar(&b.MaxInflight, "max-inflight", b.MaxInflight, "Messages sent but not yet acknowledged, at most, per machine.")
}

// withPassword takes the environment's password when no flag says one. It is no
// flag's default, which the help would show.
func withPassword(f *pflag.FlagSet, b Broker) Broker {
	if !f.Changed("password") {
		b.Password = os.Getenv(passwordVariable)
	}
	return b
}

func synthFlags(f *pflag.FlagSet, m *SynthMachine) {
	d := synth.Config{}.WithDefaults()
	f.StringSliceVar(&m.Fault, "fault", nil, "Fault as `kind@begins`/grows-over*severity, such as outer-race@60s/2m*0.5; repeatable.")
	f.Uint64Var(&m.Seed, "seed", 0, "Seed of everything random.")
	f.Var(&m.Speed, "speed", "How much faster than real time; max is as fast as the broker takes it.")
	f.Float64Var(&m.ShaftHz, "shaft-hz", d.ShaftHz, "Speed of the shaft in Hz.")
	f.Float64Var(&m.RateHz, "rate-hz", d.RateHz, "Sampling rate of the vibration in Hz.")
	f.IntVar(&m.Samples, "samples", d.BurstSamples, "Samples in a vibration burst.")
	f.DurationVar(&m.Every, "every", 0, "From one burst to the next, in the machine's time; default: without a pause.")
	f.DurationVar(&m.Duration, "duration", 0, "How long the machine runs, in its own time; default: until stopped.")
	f.TimeVar(&m.Start, "start", time.Time{}, []string{time.RFC3339}, "Time of the first sample (RFC 3339); default: now. Receivers may refuse times more than a day ahead.")
	f.StringVar(&m.Vibration, "vibration", formatFloat32Time, "Payload of bursts: "+formatFloat32Time+", "+formatFloat32+" or "+formatJSON+".")
}

func replayFlags(f *pflag.FlagSet, m *ReplayMachine) {
	f.StringVar(&m.File, "file", "", "CSV `file`, or CSV in gzip with a name ending in .gz.")
	f.StringVar(&m.Separator, "separator", "", "Separator of the fields; default: found out from the header.")
	f.StringVar(&m.TimeColumn, "time-column", "", "Column with the time of a row.")
	f.StringVar(&m.TimeLayout, "time-layout", "", "Its layout, in the manner of Go; default: ISO 8601 or Unix time.")
	f.Float64Var(&m.RateHz, "rate-hz", 0, "Rows a second of a file without a time column.")
	f.TimeVar(&m.Start, "start", time.Time{}, []string{time.RFC3339}, "Time of row 0 of such a file (RFC 3339); default: now.")
	f.StringSliceVar(&m.Omit, "omit", nil, "Column not to publish, such as a label; repeatable.")
	f.IntVar(&m.FromRow, "from-row", 0, "First row, counted from 0.")
	f.IntVar(&m.ToRow, "to-row", 0, "Row after the last; default: the end.")
	f.Var(&m.Speed, "speed", "How much faster than recorded; max is as fast as the broker takes it.")
	f.IntVar(&m.HoldAfterRow, "hold-after-row", 0, "Pause before this row, counted from 0, until the line \"continue\" comes on standard input.")
}
