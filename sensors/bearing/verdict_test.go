package bearing

import "testing"

func TestAccuse_Rule(t *testing.T) {
	for _, c := range []struct {
		e      Evidence
		raceDB float64
		want   Verdict
	}{
		{Evidence{20, 12, 9, 5}, 0, Verdict{OuterRace, 20 - RaceDB, false}},
		{Evidence{15, 21, 9, 5}, 0, Verdict{InnerRace, 21 - RaceDB, false}},
		{Evidence{10, 9, 8, 12}, 0, Verdict{Ball, RaceDB - 10, true}},
		{Evidence{10, 9, 13, 12}, 0, Verdict{Ball, RaceDB - 10, false}},
		{Evidence{15, 16, 21, 12}, 0, Verdict{Ball, 5, false}},
		{Evidence{10, 9, 8, 5}, 9.5, Verdict{OuterRace, 0.5, false}},
	} {
		if got := c.e.Accuse(c.raceDB); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.e, got, c.want)
		}
	}
}
