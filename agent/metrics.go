package agent

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millwright-iot/millwright/agent/internal/infer"
)

// metrics serves the agent's state to Prometheus. Everything is read at the scrape,
// so that counting costs the pipeline nothing twice.
func (a *Agent) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{a},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

type collector struct{ a *Agent }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millwright_"+name, help, labels, nil)
}

var (
	descMessages   = desc("messages_received_total", "MQTT messages received.")
	descMsgDropped = desc("messages_dropped_total", "MQTT messages that led to no samples.", "reason")
	descReceived   = desc("samples_received_total", "Samples received: the sum of used, stored and dropped.")
	descUsed       = desc("samples_used_total", "Samples that were in at least one complete window.")
	descStored     = desc("samples_stored", "Samples waiting for their window.")
	descDropped    = desc("samples_dropped_total", "Samples that reached no window.", "reason")
	descMsgNoted   = desc("messages_noted_total", "MQTT messages about the state of a device.")
	descMsgQueued  = desc("messages_queued", "MQTT messages waiting to be processed.")
	descDeviceUp   = desc("device_up", "1 while a device is there: not gone by its last will, its bus or its edge node.", "device", "bus")
	descSkew       = desc("device_clock_skew_seconds", "How far a device's clock is ahead.", "device")
	descRate       = desc("device_rate_hz", "Measured sampling rate.", "device", "bus")
	descOverruns   = desc("device_overruns_total", "Times samples were lost in a chip's FIFO.", "device", "bus")
	descFailures   = desc("device_failures_total", "Failures to open, start or read a device on a bus.", "device", "bus")
	descBroker     = desc("broker_connected", "1 while the agent reads from its broker.")
	descCoord      = desc("coordinator_connected", "1 while the session with the coordinator is open.")
	descWindows    = desc("windows_total", "Windows that gave a feature vector.", "machine")
	descRefused    = desc("windows_refused_total", "Windows that gave none.", "machine", "reason")
	descState      = desc("machine_state", "1 for the state a machine is in.", "machine", "state")
	descBaseline   = desc("baseline_windows", "Healthy windows collected for the baseline.", "machine")
	descScore      = desc("score", "Newest score; 1 is the alarm threshold.", "machine", "job")
	descAlarm      = desc("alarm", "1 while an alarm lasts.", "machine")
	descVersion    = desc("model_version", "Version of the model in use; 0 is the machine's own.", "machine", "job")
	descVectors    = desc("vectors_stored_total", "Feature vectors committed to the sample store.")
	descVecDropped = desc("vectors_dropped_total", "Feature vectors that could not be kept.", "reason")
	descVecPending = desc("vectors_pending", "Feature vectors in memory, not yet committed.")
	descWritten    = desc("store_lifetime_bytes", "Bytes written to the sample store since its file was made.")
	descFile       = desc("store_file_bytes", "Size of the sample store's file.")
	descQuarantine = desc("store_quarantined_total", "Damaged sample stores put aside.")
	descScoresSent = desc("scores_published_total", "Scores handed to the broker's connection.")
	descScoresLost = desc("scores_dropped_total", "Scores not published, for lack of a connection or of room.")
	descAlarmsSent = desc("alarm_events_published_total", "Alarm events the broker acknowledged.")
	descAlarmsWait = desc("alarm_events_queued", "Alarm events waiting for the broker.")
	descAlarmsLost = desc("alarm_events_dropped_total", "Alarm events not published for lack of room.")
	descSparkplug  = desc("sparkplug_connected", "1 while the Sparkplug edge node is born.")
	descBirths     = desc("sparkplug_births_total", "Births published, on connecting and when a host asked.")
	descData       = desc("sparkplug_data_total", "Data messages handed to the broker's connection.")
	descPanics     = desc("machine_failures_total", "Blocks on which a machine failed; each is a bug to report.", "machine")
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	src := c.a.messages()
	count(descMessages, src.Received)
	for reason, n := range src.Dropped {
		count(descMsgDropped, n, string(reason))
	}
	count(descMsgNoted, src.Noted)
	gauge(descMsgQueued, float64(src.Queued))
	samples := c.a.counts()
	count(descReceived, samples.Received)
	count(descUsed, samples.Used)
	gauge(descStored, float64(samples.Stored))
	for reason, n := range samples.Dropped {
		count(descDropped, n, reason)
	}
	gauge(descBroker, truth(src.Connected))
	c.sensors(gauge, count)
	gauge(descCoord, truth(c.a.uplink != nil && c.a.uplink.State().Connected))

	st := c.a.store.Stats()
	count(descVectors, st.Stored)
	for reason, n := range st.Dropped {
		count(descVecDropped, n, reason)
	}
	gauge(descVecPending, float64(st.Pending))
	count(descWritten, st.LifetimeBytes)
	gauge(descFile, float64(st.FileBytes))
	count(descQuarantine, st.Quarantined)

	pub := c.a.published()
	count(descScoresSent, pub.ScoresDelivered)
	count(descScoresLost, pub.ScoresDropped)
	count(descAlarmsSent, pub.AlarmsDelivered)
	gauge(descAlarmsWait, float64(pub.AlarmsQueued))
	count(descAlarmsLost, pub.AlarmsDropped)

	if n := c.a.sparkplug; n != nil {
		st := n.Stats()
		gauge(descSparkplug, truth(st.Connected))
		count(descBirths, st.Births)
		count(descData, st.Data)
	}
	for _, m := range c.a.machines {
		s := m.Status()
		count(descWindows, s.Windows, s.Name)
		for reason, n := range s.Refused {
			count(descRefused, n, s.Name, reason)
		}
		for _, state := range []infer.State{infer.Waiting, infer.Baseline, infer.Running, infer.Stale} {
			gauge(descState, truth(state == s.State), s.Name, string(state))
		}
		gauge(descBaseline, float64(s.Have), s.Name)
		gauge(descAlarm, truth(s.Alarm.Active), s.Name)
		count(descPanics, s.Panics, s.Name)
		for _, j := range s.Jobs {
			gauge(descVersion, float64(j.Version), s.Name, j.Job)
			if j.Trained {
				gauge(descScore, j.Score, s.Name, j.Job)
			}
		}
	}
}

// sensors collects what is known of devices.
func (c collector) sensors(gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int64, ...string)) {
	for _, d := range c.a.sources.devices() {
		gauge(descDeviceUp, truth(d.Up), d.Name, d.Bus)
		if d.Skew != nil {
			gauge(descSkew, *d.Skew, d.Name)
		}
		if d.Bus == mqttBus {
			continue
		}
		if d.MeasuredHz > 0 {
			gauge(descRate, d.MeasuredHz, d.Name, d.Bus)
		}
		count(descOverruns, d.Overruns, d.Name, d.Bus)
		count(descFailures, d.Errors, d.Name, d.Bus)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
