package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// post gives a label through the local interface.
func (r *running) post(document string) (int, map[string]any) {
	r.t.Helper()
	return r.ask(http.MethodPost, "", document)
}

func (r *running) ask(method, path, body string) (status int, doc map[string]any) {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+"/api/v1/labels"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		r.t.Fatalf("%s %s: %v: %s", method, body, err, text)
	}
	return resp.StatusCode, doc
}

// alarmed is an agent with two machines of which the first has had an alarm.
func alarmed(t *testing.T) (r *running, s *sensor, cfg Config, episode map[string]any) {
	t.Helper()
	broker := startBroker(t, "")
	cfg = testConfig(t, broker, "pump-1", "pump-2")
	r, s = start(t, cfg), newSensor(t, broker)
	eventually(t, "the agent reads", func() bool { return r.messages().Connected && r.published().Connected })
	s.rows("pump-1", 150, 0)
	s.rows("pump-1", 60, 5)
	s.rows("pump-1", 60, 0)
	eventually(t, "an alarm is over", func() bool {
		heard := s.heard("millwright/gw1/pump-1/alarm")
		if n := len(heard); n > 0 {
			episode = heard[n-1]
		}
		return episode != nil && episode["active"] == false
	})
	return r, s, cfg, episode
}

func TestLabels_VerdictIsShownWhereTheAlarmIs(t *testing.T) {
	r, s, cfg, episode := alarmed(t)
	id := episode["id"].(string)
	status, kept := r.post(fmt.Sprintf(`{"kind":"verdict","episode":%q,"right":false,"order":"WO-7","by":"Ada"}`, id))
	if status != 201 || kept["machine"] != "pump-1" || kept["from"] != episode["raised"] || kept["to"] != episode["cleared"] || kept["id"] != "verdict-"+id {
		t.Fatalf("verdict answered %d %v; the episode is %v", status, kept, episode)
	}
	shown := func(verdict, order any) func() bool {
		return func() bool {
			_, doc := r.get("/api/v1/alarms")
			a := doc["alarms"].([]any)[0].(map[string]any)
			heard := s.heard("millwright/gw1/pump-1/alarm")
			last := heard[len(heard)-1]
			return a["verdict"] == verdict && a["order"] == order && last["verdict"] == verdict && last["order"] == order
		}
	}
	eventually(t, "the verdict shows", shown("wrong", "WO-7"))
	if e := (node{r.Agent}).Alarms(); len(e) != 1 || e[0].Verdict != "wrong" || e[0].Revision < 3 {
		t.Errorf("for the coordinator: %+v", e)
	}
	if status, _ := r.post(fmt.Sprintf(`{"kind":"verdict","episode":%q,"right":true}`, id)); status != 201 {
		t.Errorf("a change of mind: %d", status)
	}
	eventually(t, "the change of mind shows", shown("right", nil))
	if status, doc := r.ask(http.MethodDelete, "/verdict-"+id, ""); status != 200 || doc["withdrawn"] != true {
		t.Errorf("withdrawn: %d %v", status, doc)
	}
	eventually(t, "the verdict is gone", shown(nil, nil))

	// Labels and verdicts outlive the process.
	r.post(fmt.Sprintf(`{"id":"again","kind":"verdict","episode":%q,"right":false}`, id))
	r.stop()
	r = start(t, cfg)
	if _, doc := r.get("/api/v1/alarms"); doc["alarms"].([]any)[0].(map[string]any)["verdict"] != "wrong" {
		t.Errorf("after a restart: %v", doc)
	}
	if _, doc := r.ask(http.MethodGet, "", ""); len(doc["labels"].([]any)) != 2 {
		t.Errorf("labels after a restart: %v", doc)
	}
}

// A verdict on an alarm before the newest must not pass for the state of the machine.
func TestLabels_OldVerdictIsNotPublishedAsTheNewest(t *testing.T) {
	r, s, _, first := alarmed(t)
	s.rows("pump-1", 60, 5)
	eventually(t, "a second alarm", func() bool {
		heard := s.heard("millwright/gw1/pump-1/alarm")
		return heard[len(heard)-1]["active"] == true
	})
	if status, doc := r.post(fmt.Sprintf(`{"kind":"verdict","episode":%q,"right":true}`, first["id"])); status != 201 {
		t.Fatal(status, doc)
	}
	r.post(fmt.Sprintf(`{"kind":"verdict","episode":%q,"right":true}`, r.journal.Episodes(1)[0].ID))
	eventually(t, "the verdict on the second", func() bool {
		heard := s.heard("millwright/gw1/pump-1/alarm")
		return heard[len(heard)-1]["verdict"] == "right"
	})
	for _, e := range s.heard("millwright/gw1/pump-1/alarm") {
		if e["verdict"] != nil && e["id"] == first["id"] {
			t.Errorf("published: %v", e)
		}
	}
	if e, ok := r.journal.Episode(first["id"].(string)); !ok || e.Verdict != "right" {
		t.Errorf("the first is kept as %+v", e)
	}
}

func TestLabels_WrongInputsSayWhy(t *testing.T) {
	r, s, _, episode := alarmed(t)
	future := time.Now().Add(time.Hour).Format(time.RFC3339)
	for document, want := range map[string]string{
		`{"machine":"pump-3","kind":"failure"}`:                                            `not on this gateway; did you mean "pump-1"?`,
		`{"machine":"compressor","kind":"failure"}`:                                        "which has pump-1, pump-2",
		`{"kind":"failure"}`:                                                               "machine is missing",
		`{"machine":"pump-1","kind":"broken"}`:                                             "it is one of failure",
		`{"machine":"pump-1","kind":"failure","at":"` + future + `"}`:                      "in the future",
		`{"machine":"pump-1","kind":"fault","class":"x"}`:                                  "from is missing",
		`{"kind":"verdict","episode":"0123","right":true}`:                                 "see /api/v1/alarms",
		`{"kind":"verdict","right":true}`:                                                  "episode is missing",
		`{"kind":"verdict","machine":"pump-2","episode":"` + episode["id"].(string) + `"}`: `is of machine "pump-1"`,
		`{"kind":"verdict","episode":"` + episode["id"].(string) + `"}`:                    "right is missing",
		`{"kind":"verdict","right":true,"at":"` + future + `","episode":"x"}`:              "none of this gateway's",
		`{"machin":"pump-1"}`:                                                              `did you mean "machine"?`,
		`nonsense`:                                                                         "not JSON",
	} {
		status, doc := r.post(document)
		if message, _ := doc["error"].(string); status != 422 || !strings.Contains(message, want) {
			t.Errorf("%s: %d %v, want %q", document, status, doc, want)
		}
	}
	if status, doc := r.ask(http.MethodDelete, "/nobody", ""); status != 404 {
		t.Errorf("withdraw what is not there: %d %v", status, doc)
	}
	if list := r.labels.All(); len(list) != 0 {
		t.Errorf("kept: %v", list)
	}
	s.send("millwright/gw1/label", `{"machine":"pump-3","kind":"failure"}`)
	s.send("millwright/gw1/label", `{"id":"WO-9","machine":"pump-2","kind":"failure","class":"seal"}`)
	eventually(t, "the good one is kept", func() bool { return len(r.labels.All()) == 1 })
	eventually(t, "the other is answered", func() bool { return len(s.heard("millwright/gw1/label/error")) == 1 })
	if answer := s.heard("millwright/gw1/label/error")[0]; !strings.Contains(answer["error"].(string), "did you mean") {
		t.Errorf("answer: %v", answer)
	}
}

func TestLabels_HintAtAnUnknownClass(t *testing.T) {
	r := start(t, testConfig(t, startBroker(t, ""), "pump-1"))
	_, doc := r.post(`{"machine":"pump-1","kind":"failure","class":"bering"}`)
	if hint, _ := doc["hint"].(string); !strings.Contains(hint, "no job of class pump tells faults apart yet") {
		t.Errorf("without a job: %v", doc)
	}
	if err := r.setJobs([]job.Spec{pumpJob(model.KindGaussian), faultJob()}); err != nil {
		t.Fatal(err)
	}
	_, doc = r.post(`{"id":"b","machine":"pump-1","kind":"failure","class":"bering"}`)
	if hint, _ := doc["hint"].(string); !strings.Contains(hint, `did you mean "bearing"?`) {
		t.Errorf("with a job: %v", doc)
	}
	if _, doc = r.post(`{"id":"b","machine":"pump-1","kind":"failure","class":"bearing"}`); doc["hint"] != nil {
		t.Errorf("of a known class: %v", doc)
	}
	_, doc = r.post(`{"machine":"pump-1","kind":"failure","class":"ok"}`)
	if hint, _ := doc["hint"].(string); !strings.Contains(hint, "did you mean kind healthy?") {
		t.Errorf("a failure that is none: %v", doc)
	}
}

// A fault named during an alarm is told, but not again after a restart.
func TestListener_NamesAFaultOnce(t *testing.T) {
	s := newStory(t, storyConfig(t))
	l := listener{a: s.Agent, class: "pump"}
	state := alarm.State{Active: true, Raised: s.now, Peak: 3, Zone: alarm.ZoneD}
	say := func(change alarm.Change, class string) journal.Episode {
		t.Helper()
		out := infer.Output{At: s.now, Change: change, Advice: infer.Advice{Fault: &infer.Fault{Class: class}}}
		l.Alarm("pump-1", pumpJob(model.KindGaussian), &out, state)
		e, ok := s.journal.Lasting("pump-1")
		if !ok {
			t.Fatal("no alarm lasts")
		}
		return e
	}
	for i, c := range []struct {
		change   alarm.Change
		class    string
		revision uint32
	}{{alarm.Raised, infer.Unknown, 1}, {alarm.None, "belt", 2}, {alarm.None, "belt", 2}, {alarm.None, "bearing", 3}} {
		if e := say(c.change, c.class); e.Revision != c.revision || e.Fault.Class != c.class {
			t.Errorf("%d: revision %d names %s, want %d and %s", i, e.Revision, e.Fault.Class, c.revision, c.class)
		}
	}
}

// faultJob tells the faults of pumps apart.
func faultJob() job.Spec {
	spec := pumpJob(model.KindGaussian)
	spec.Name, spec.Strategy = "pump-faults", job.StrategySpec{}
	spec.Model = model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{Classes: []string{"ok", "bearing", "belt"}, Healthy: "ok"}}
	return spec.WithDefaults()
}

func TestReadiness_OfADiagnosingJob(t *testing.T) {
	r, _, _, _ := alarmed(t)
	if err := r.setJobs([]job.Spec{pumpJob(model.KindGaussian), faultJob()}); err != nil {
		t.Fatal(err)
	}
	start := uplink.Start{Global: family(t, faultJob()).Init(1), Seed: 1}
	reason := func() string {
		for _, j := range (node{r.Agent}).Status().Jobs {
			if j.Job == "pump-faults" {
				return j.Reason
			}
		}
		return "no such job"
	}
	if got := reason(); !strings.Contains(got, "still in baseline") {
		t.Errorf("at first: %q", got)
	}
	s := newSensor(t, strings.TrimPrefix(r.cfg.MQTT.Broker, "tcp://"))
	s.now = time.Now().Add(-4 * time.Hour).Truncate(time.Minute)
	s.rows("pump-1", 150, 0)
	eventually(t, "there is a baseline", func() bool { return strings.Contains(reason(), "no labels yet, so all windows are of class \"ok\"") })
	if _, err := r.train(t.Context(), "pump-faults", start); err == nil || !strings.Contains(err.Error(), "another class") {
		t.Errorf("training with one class: %v", err)
	}
	from := s.now
	s.rows("pump-1", 60, 5)
	r.post(`{"id":"astray","machine":"pump-1","kind":"fault","class":"bering","from":"` + from.Format(time.RFC3339) + `"}`)
	if got := reason(); !strings.Contains(got, "labels name bering") {
		t.Errorf("with a class that the job does not know: %q", got)
	}
	r.post(`{"id":"astray","machine":"pump-1","kind":"fault","class":"bearing","from":"` + from.Format(time.RFC3339) + `"}`)
	eventually(t, "it is ready", func() bool { r.taughtAnew(); return reason() == "" })
	learned, err := r.train(t.Context(), "pump-faults", start)
	if err != nil || learned.Update.Weight < 30 {
		t.Errorf("trained with weight %v: %v", learned.Update.Weight, err)
	}
}

// taughtAnew forgets what lessons were counted.
func (r *running) taughtAnew() {
	r.taught.mu.Lock()
	defer r.taught.mu.Unlock()
	r.taught.kept = nil
}

func TestLabels_WhatCannotBeWrittenIsSaid(t *testing.T) {
	cfg := testConfig(t, startBroker(t, ""), "pump-1")
	file := filepath.Join(cfg.DataDir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = filepath.Join(file, "data")
	r := start(t, cfg)
	status, doc := r.post(`{"machine":"pump-1","kind":"failure"}`)
	if status != http.StatusServiceUnavailable || !strings.Contains(doc["error"].(string), "forgotten at a restart") {
		t.Errorf("%d %v", status, doc)
	}
	if list := r.labels.Of("pump-1"); len(list) != 1 || list[0].Kind != labels.Failure {
		t.Errorf("labels: %v", list)
	}
}
