// Package verify judges the updates of a round before they count.
//
// Every update that arrived whole (right shape, right digest, finite numbers) is
// compared with what the fleet sends: its norm with the norms of recent rounds
// and of the others in this one, its direction with that of the others. Sums of
// statistics jobs are first put per row, and must be sums that rows can have. What
// becomes of who fails is for the caller to say; the coordinator quarantines the
// gateway.
//
// A wrong accusation costs a plant its say, so each check keeps silent where it
// has nothing to go by:
//
//   - A norm needs three others in the round, or five rounds of history. In a
//     federation of two or three only the history is asked, and by its largest
//     norms, for nobody can say which of two is the odd one.
//   - The others' spread widens the limit: where norms differ widely by nature
//     (a gateway with twenty machines beside some with one), more is allowed.
//   - Only large norms are suspicious. One that learned little is no offender.
//   - A direction needs three others that agree among themselves. Near the end of
//     training they do not: at the fixed point of averaging the deltas sum to zero,
//     every update points exactly against the rest, and nobody is to blame.
//
// Whoever holds the majority decides what is normal: more than half of a round
// colluding from the first day on cannot be told from the truth.
package verify

import "math"

// Policy says what is too much. The zero value is not useful; see DefaultPolicy.
type Policy struct {
	// MaxNorm is how many times the fleet's median norm an update may have;
	// below 0 norms and weights are not judged.
	MaxNorm float64
	// MinCosine is the least cosine between an update and the mean of the
	// others' directions; at −1 directions are not judged.
	MinCosine float64
}

// DefaultPolicy returns the policy of a job that says nothing else.
func DefaultPolicy() Policy { return Policy{MaxNorm: 10, MinCosine: -0.5} }

// MaxHistory is how many rounds of history are worth keeping.
const MaxHistory = 20

// What a judgement needs to go by.
const (
	minOthers  = 3 // other updates in the round
	minHistory = 5 // rounds of history

	// spreadLimit is how many standard deviations of the logarithms of the others'
	// norms, estimated by 1.4826·MAD (Rousseeuw & Croux, JASA 88, 1993), an
	// update may be above their median, if that is more than MaxNorm.
	spreadLimit = 6 * 1.4826

	// maxWeight is how many times the others' median weight one may claim. A
	// gateway with many machines and full stores honestly has hundreds of times
	// the rows of one that just began, so this stops lies only.
	maxWeight = 1000

	// agreement is the least mean cosine between the others' directions at which
	// they count as having one; see minAgreement.
	agreement = 0.2
)

// minAgreement returns how much the others must agree for a direction to mean
// something. The cosine between independent directions of d dimensions has mean
// 0 and standard deviation 1/√d; two of them are added.
func minAgreement(dimensions int) float64 {
	return agreement + 2/math.Sqrt(float64(max(dimensions, 1)))
}
