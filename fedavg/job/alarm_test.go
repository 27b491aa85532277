package job

import (
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/model"
)

func TestAlarm_Probability(t *testing.T) {
	for _, c := range []struct{ wrong, missed, want float64 }{
		{0, 0, 0}, {1, 0, 0}, {1, 1, 0.5}, {1, 9, 0.1}, {300, 100, 0.75},
	} {
		if got := (AlarmSpec{CostFalse: c.wrong, CostMissed: c.missed}).Probability(); got != c.want {
			t.Errorf("costs %v and %v: threshold %v, want %v", c.wrong, c.missed, got, c.want)
		}
	}
}

func TestAlarm_Problems(t *testing.T) {
	softmax := model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{Classes: []string{"good", "bad"}, Healthy: "good", Unbalanced: true}}
	balanced := model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{Classes: []string{"good", "bad"}, Healthy: "good"}}
	for _, c := range []struct {
		alarm AlarmSpec
		model model.Spec
		want  string // empty: none
	}{
		{AlarmSpec{Budget: 1, Smooth: 15, Cusum: 0.5}, model.Spec{Kind: model.KindGaussian}, ""},
		{AlarmSpec{CostFalse: 1, CostMissed: 20}, softmax, ""},
		{AlarmSpec{CostFalse: 1, CostMissed: 20}, model.Spec{Kind: model.KindGaussian}, "alarm.cost_false"},
		{AlarmSpec{CostFalse: 1, CostMissed: 20}, balanced, "alarm.cost_false"},
		{AlarmSpec{CostFalse: 1}, softmax, "alarm.cost_false"},
		{AlarmSpec{CostFalse: 1e-9, CostMissed: 1}, softmax, "alarm.cost_false"},
		{AlarmSpec{CostFalse: 1, CostMissed: 20, Budget: 1}, softmax, "alarm.cost_false"},
		{AlarmSpec{Budget: -1}, softmax, "alarm.budget"},
		{AlarmSpec{Budget: 1e300}, softmax, "alarm.budget"},
		{AlarmSpec{Smooth: -1}, softmax, "alarm.smooth"},
		{AlarmSpec{Cusum: -0.5}, softmax, "alarm.cusum"},
		{AlarmSpec{OnDelay: 1 << 30}, softmax, "alarm.on_delay"},
	} {
		s := parse(t, shortYAML)
		s.Model, s.Alarm = c.model, c.alarm
		var got []string
		for _, p := range s.Validate() {
			got = append(got, p.Path)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: problems at %q, want %q", c.alarm, got, c.want)
		}
	}
}
