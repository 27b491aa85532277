package bearing

// Part is what of a bearing is damaged.
type Part string

// The parts.
const (
	OuterRace Part = "outer-race"
	InnerRace Part = "inner-race"
	Ball      Part = "ball"
)

// Evidence is how far the lines of each fault stand out of the envelope's spectrum, in
// dB: the features bpfo_snr, bpfi_snr, bsf_snr and ftf_snr.
type Evidence struct{ OuterDB, InnerDB, BallDB, CageDB float64 }

// Verdict is which part the evidence accuses.
type Verdict struct {
	Part Part
	// MarginDB is how far the stronger race is above the threshold when a race is
	// named, below it when a ball is because no race shows, and below the ball when the
	// ball stands higher.
	MarginDB float64
	// Eliminated says that a ball is named because neither race shows, not because
	// the lines of a ball do.
	Eliminated bool
}

const (
	// RaceDB is the SNR from which a race shows. It lies between what bearings with a
	// damaged ball and those with a damaged race show, learned from recordings of the
	// Case Western Reserve Bearing Data Center; leaving out any of their fault sizes
	// gives 13.8 to 14.2 dB.
	RaceDB = 14.0
	// ballNoiseDB is what three lines a harmonic show in noise, at most.
	ballNoiseDB = 12.0
)

// Accuse says which part is damaged, of a bearing that is known to be: something else
// must have told that (a score, a level, kurtosis). raceDB is the threshold; 0 is
// RaceDB.
//
// A damaged race strikes at a steady rate, so its lines stand high. A damaged ball shows
// its lines only while the spot runs on the track, which its spin changes all the time, and
// strikes both races; so the highest of three SNRs names a race too often. The rule is
// therefore: a race when it shows and the ball does not stand higher, the stronger
// race; else a ball. It takes no training
// but the one threshold. What it cannot tell apart is a weak spot on a race and a ball.
func (e Evidence) Accuse(raceDB float64) Verdict {
	if raceDB == 0 {
		raceDB = RaceDB
	}
	v := Verdict{Part: OuterRace, MarginDB: e.OuterDB - raceDB}
	if e.InnerDB > e.OuterDB {
		v = Verdict{Part: InnerRace, MarginDB: e.InnerDB - raceDB}
	}
	switch {
	case v.MarginDB < 0:
		v = Verdict{Part: Ball, MarginDB: -v.MarginDB, Eliminated: e.BallDB < ballNoiseDB}
	case e.BallDB > max(e.OuterDB, e.InnerDB):
		v = Verdict{Part: Ball, MarginDB: e.BallDB - max(e.OuterDB, e.InnerDB)}
	}
	return v
}
