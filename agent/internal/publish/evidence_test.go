package publish

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/agent/internal/infer"
)

func TestScore_CarriesEvidence(t *testing.T) {
	p := New(Options{Gateway: "gw1"}, slog.New(slog.DiscardHandler))
	s := Score{Machine: "pump-1", Output: infer.Output{State: infer.Running, Score: 2, Advice: infer.Advice{Evidence: &infer.Evidence{
		Channel: "vibration", Part: "outer-race", OuterRaceDB: 22, InnerRaceDB: 9, BallDB: 10,
	}}}}
	text := func() string {
		data, err := json.Marshal(p.document(&s))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if got := text(); !strings.Contains(got, `"evidence":{"channel":"vibration","part":"outer-race","outer_race_db":22,"inner_race_db":9,"ball_db":10}`) {
		t.Error(got)
	}
	s.Output.Advice = infer.Advice{}
	if got := text(); strings.Contains(got, "evidence") {
		t.Error(got)
	}
}
