package coordinator

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/release"
)

// metrics is what Prometheus reads. What can be told from the present state is
// collected at the scrape; see Collect.
type metrics struct {
	registry *prometheus.Registry
	c        *Coordinator

	rounds      *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	received    *prometheus.CounterVec
	rejected    *prometheus.CounterVec
	invalid     *prometheus.CounterVec
	alarms      *prometheus.CounterVec
	bytesIn     prometheus.Counter
	bytesOut    prometheus.Counter
	storeErrors prometheus.Counter

	gateways, machines, openRounds, ready, version, activeAlarms, blobBytes, quarantined *prometheus.Desc
	drifting, fleetDrift, judged, watched                                                *prometheus.Desc
}

func newMetrics(c *Coordinator) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "millwright", Subsystem: "coordinator", Name: name, Help: help}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("millwright", "coordinator", name), help, labels, nil)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(), c: c,
		rounds: counter("rounds_total", "Rounds ended, by job and state (committed, abandoned).", "job", "state"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "millwright", Subsystem: "coordinator", Name: "round_duration_seconds",
			Help: "Time from announcing a round to its commit.", Buckets: prometheus.ExponentialBuckets(0.05, 3, 11),
		}, []string{"job"}),
		received:    counter("updates_received_total", "Updates acknowledged, by result (counted, duplicate, late).", "result"),
		rejected:    counter("updates_rejected_total", "Updates refused, by reason.", "reason"),
		invalid:     counter("messages_ignored_total", "Messages of agents ignored because of impossible content, by kind.", "kind"),
		alarms:      counter("alarms_total", "Alarm episodes begun, by machine class.", "class"),
		bytesIn:     counter("update_bytes_received_total", "Bytes of updates received.").WithLabelValues(),
		bytesOut:    counter("model_bytes_sent_total", "Bytes of global models sent.").WithLabelValues(),
		storeErrors: counter("store_errors_total", "Calls of the store that failed.").WithLabelValues(),

		gateways:     desc("gateways", "Gateways known, by connected (true, false).", "connected"),
		machines:     desc("machines", "Machines of connected gateways, by zone; none: not scored yet.", "zone"),
		openRounds:   desc("open_rounds", "Rounds in progress.", "job"),
		ready:        desc("ready_gateways", "Connected gateways that could take part in a round now.", "job"),
		version:      desc("model_version", "Newest committed version of the global model.", "job"),
		activeAlarms: desc("active_alarms", "Alarm episodes that last."),
		quarantined:  desc("quarantined", "1 for each gateway whose updates to the job do not count.", "job", "gateway"),
		drifting:     desc("drifting_machines", "Machines of connected gateways on which something drifts.", "class"),
		fleetDrift:   desc("fleet_drift", "Share of a class's machines that drift in the subject, where it is the class that drifts and not single machines.", "class", "subject", "kind"),
		judged:       desc("alarms_judged", "Alarms of the live model that labels judged, by result (right, wrong, missed).", "job", "version", "result"),
		watched:      desc("watched_hours", "Hours that machines were watched by the live model.", "job", "version"),
		blobBytes:    desc("store_blob_bytes", "Bytes of models and updates in the store."),
	}
	m.registry.MustRegister(m, m.rounds, m.duration, m.received, m.rejected, m.invalid, m.alarms, m.bytesIn, m.bytesOut, m.storeErrors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range []string{"counted", "duplicate", "late"} {
		m.received.WithLabelValues(result)
	}
	for _, j := range c.jobs {
		m.rounds.WithLabelValues(j.spec.Name, "committed")
		m.rounds.WithLabelValues(j.spec.Name, "abandoned")
	}
	return m
}

func (m *metrics) roundEnded(r fleet.Round) {
	m.rounds.WithLabelValues(r.Job, r.State).Inc()
	if r.State == "committed" {
		m.duration.WithLabelValues(r.Job).Observe(r.Seconds)
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.gateways, m.machines, m.openRounds, m.ready, m.version, m.activeAlarms, m.blobBytes, m.quarantined,
		m.drifting, m.fleetDrift, m.judged, m.watched} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if blobs, err := m.c.st.ListBlobs(ctx); err == nil {
		var size uint64
		for _, b := range blobs {
			size += b.Size
		}
		gauge(m.blobBytes, float64(size))
	}
	s := m.c.Snapshot()
	connected := 0
	zones := map[string]int{"A": 0, "B": 0, "C": 0, "D": 0, "none": 0}
	for _, g := range s.Gateways {
		for _, q := range g.Quarantine {
			gauge(m.quarantined, 1, q.Job, g.Name)
		}
		if !g.Connected {
			continue
		}
		connected++
		for _, machine := range g.Machines {
			if machine.Zone == "" {
				zones["none"]++
			} else {
				zones[machine.Zone]++
			}
		}
	}
	gauge(m.gateways, float64(connected), "true")
	gauge(m.gateways, float64(len(s.Gateways)-connected), "false")
	for zone, n := range zones {
		gauge(m.machines, float64(n), zone)
	}
	for _, d := range s.Drift {
		gauge(m.drifting, float64(d.Drifting), d.Class)
		for _, subject := range d.Subjects {
			if subject.Fleet {
				gauge(m.fleetDrift, subject.Share, d.Class, subject.Subject, subject.Kind)
			}
		}
	}
	for _, model := range s.Models {
		if q := model.Quality; q != nil && model.Release == release.Live {
			version := strconv.FormatUint(model.Version, 10)
			gauge(m.judged, float64(q.TruePositives), model.Job, version, "right")
			gauge(m.judged, float64(q.FalsePositives), model.Job, version, "wrong")
			gauge(m.judged, float64(q.FalseNegatives), model.Job, version, "missed")
			gauge(m.watched, q.Hours, model.Job, version)
		}
	}
	active := 0
	for _, a := range s.Alarms {
		if a.Cleared.IsZero() {
			active++
		}
	}
	gauge(m.activeAlarms, float64(active))
	open := map[string]int{}
	for _, r := range s.Rounds {
		if r.State == "open" {
			open[r.Job]++
		}
	}
	for _, j := range s.Jobs {
		gauge(m.openRounds, float64(open[j.Name]), j.Name)
		gauge(m.ready, float64(j.Ready), j.Name)
		gauge(m.version, float64(j.Version), j.Name)
	}
}
