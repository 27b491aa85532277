package infer

// Evidence is what the lines of a machine's bearing said in one window, of the channel
// on which they stand highest.
type Evidence struct {
	Channel string `json:"channel"`
	// Part is which part of the bearing the lines accuse: outer-race, inner-race, ball,
	// or none when nothing stands out. It presumes that something is wrong, which the
	// score says. Damaged balls often show no lines.
	Part string `json:"part"`
	// How far the lines of each part stand out, in dB.
	OuterRaceDB float64 `json:"outer_race_db"`
	InnerRaceDB float64 `json:"inner_race_db"`
	BallDB      float64 `json:"ball_db"`
}

// NoPart is the Part when nothing stands out.
const NoPart = "none"
