package agent

import (
	"net/http"

	"github.com/millwright-iot/millwright/agent/internal/exposition"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/monitor"
)

// metrics serves the agent's state to Prometheus. Everything is read at the scrape,
// so that counting costs the pipeline nothing twice.
func (a *Agent) metrics() http.Handler {
	return exposition.Handler(func(s *exposition.Set) {
		exposition.Process(s)
		collector{a, s}.collect()
	})
}

// collector adds the agent's metrics to a scrape.
type collector struct {
	a   *Agent
	set *exposition.Set
}

func (c collector) gauge(d *exposition.Desc, x float64, labels ...string) {
	c.set.Add(d, exposition.Gauge, x, labels...)
}

func (c collector) count(d *exposition.Desc, n int64, labels ...string) {
	c.set.Add(d, exposition.Counter, float64(n), labels...)
}

func desc(name, help string, labels ...string) *exposition.Desc {
	return &exposition.Desc{Name: "millwright_" + name, Help: help, Labels: labels}
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
	descLife       = desc("remaining_life_hours", "Hours of operation that are left, as predicted, and the ends of the interval.", "machine", "job", "bound")
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
	descDrift      = desc("drift_ratio", "Statistic of a monitor over its limit, of what drifts.", "machine", "subject", "kind", "monitor")
	descDrifting   = desc("drifting", "How many features drift, the score and alarms counting as one each.", "machine", "kind")
	descJudged     = desc("alarms_judged", "Alarms that labels judged, by result: right, wrong, missed.", "machine", "result")
	descWatched    = desc("watched_hours_total", "Hours a machine was scored.", "machine")
	descLabels     = desc("labels", "Labels kept, withdrawn ones too.")
	descLabelsLost = desc("labels_forgotten_total", "Labels dropped because there were too many.")
	descLabelsIn   = desc("label_messages_total", "Labels that came from the broker, those refused too.")
	descLabelsBad  = desc("label_messages_refused_total", "Labels from the broker that could not be kept.")
	descPanics     = desc("machine_failures_total", "Blocks on which a machine failed; each is a bug to report.", "machine")
)

func (c collector) collect() {
	src := c.a.messages()
	c.count(descMessages, src.Received)
	for reason, n := range src.Dropped {
		c.count(descMsgDropped, n, string(reason))
	}
	c.count(descMsgNoted, src.Noted)
	c.gauge(descMsgQueued, float64(src.Queued))
	samples := c.a.counts()
	c.count(descReceived, samples.Received)
	c.count(descUsed, samples.Used)
	c.gauge(descStored, float64(samples.Stored))
	for reason, n := range samples.Dropped {
		c.count(descDropped, n, reason)
	}
	c.gauge(descBroker, truth(src.Connected))
	c.sensors()
	c.gauge(descCoord, truth(c.a.uplink != nil && c.a.uplink.State().Connected))

	st := c.a.store.Stats()
	c.count(descVectors, st.Stored)
	for reason, n := range st.Dropped {
		c.count(descVecDropped, n, reason)
	}
	c.gauge(descVecPending, float64(st.Pending))
	c.count(descWritten, st.LifetimeBytes)
	c.gauge(descFile, float64(st.FileBytes))
	c.count(descQuarantine, st.Quarantined)

	pub := c.a.published()
	c.count(descScoresSent, pub.ScoresDelivered)
	c.count(descScoresLost, pub.ScoresDropped)
	c.count(descAlarmsSent, pub.AlarmsDelivered)
	c.gauge(descAlarmsWait, float64(pub.AlarmsQueued))
	c.count(descAlarmsLost, pub.AlarmsDropped)

	c.gauge(descLabels, float64(c.a.labels.Len()))
	c.count(descLabelsLost, c.a.labels.Forgot())
	if c.a.inbox != nil {
		st := c.a.inbox.Stats()
		c.count(descLabelsIn, st.Received)
		c.count(descLabelsBad, st.Refused)
	}
	if n := c.a.sparkplug; n != nil {
		st := n.Stats()
		c.gauge(descSparkplug, truth(st.Connected))
		c.count(descBirths, st.Births)
		c.count(descData, st.Data)
	}
	for _, m := range c.a.machines {
		s := m.Status()
		c.count(descWindows, s.Windows, s.Name)
		for reason, n := range s.Refused {
			c.count(descRefused, n, s.Name, reason)
		}
		for _, state := range []infer.State{infer.Waiting, infer.Baseline, infer.Running, infer.Off, infer.Stale} {
			c.gauge(descState, truth(state == s.State), s.Name, string(state))
		}
		c.gauge(descBaseline, float64(s.Have), s.Name)
		c.gauge(descAlarm, truth(s.Alarm.Active), s.Name)
		c.count(descPanics, s.Panics, s.Name)
		c.monitors(s.Name)
		if l := s.Output.Advice.Life; l != nil {
			c.gauge(descLife, l.Hours, s.Name, l.Job, "expected")
			if l.Confidence > 0 {
				c.gauge(descLife, l.Low, s.Name, l.Job, "low")
				c.gauge(descLife, l.High, s.Name, l.Job, "high")
			}
		}
		for _, j := range s.Jobs {
			c.gauge(descVersion, float64(j.Version), s.Name, j.Job)
			if j.Trained && j.Want > 0 { // a job to prognose scores nothing
				c.gauge(descScore, j.Score, s.Name, j.Job)
			}
		}
	}
}

// monitors collects what drifts, and how right alarms were.
func (c collector) monitors(machine string) {
	drift, quality := c.a.watches.of(machine)
	drifting := map[string]int{}
	for _, d := range drift {
		drifting[d.Kind]++
		if d.Limit > 0 {
			c.gauge(descDrift, d.Statistic/d.Limit, machine, d.Subject, d.Kind, d.Monitor)
		}
	}
	for _, kind := range []string{monitor.Data, monitor.Concept} {
		c.gauge(descDrifting, float64(drifting[kind]), machine, kind)
	}
	if q := quality; q != nil {
		c.gauge(descJudged, float64(q.TruePositives), machine, "right")
		c.gauge(descJudged, float64(q.FalsePositives), machine, "wrong")
		c.gauge(descJudged, float64(q.FalseNegatives), machine, "missed")
	}
	c.set.Add(descWatched, exposition.Counter, c.a.watches.hours(machine), machine)
}

// sensors collects what is known of devices.
func (c collector) sensors() {
	for _, d := range c.a.sources.devices() {
		c.gauge(descDeviceUp, truth(d.Up), d.Name, d.Bus)
		if d.Skew != nil {
			c.gauge(descSkew, *d.Skew, d.Name)
		}
		if d.Bus == mqttBus {
			continue
		}
		if d.MeasuredHz > 0 {
			c.gauge(descRate, d.MeasuredHz, d.Name, d.Bus)
		}
		c.count(descOverruns, d.Overruns, d.Name, d.Bus)
		c.count(descFailures, d.Errors, d.Name, d.Bus)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
