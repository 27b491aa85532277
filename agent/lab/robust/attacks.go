package robust

import (
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// attack is what the lying gateways do. poison changes what they learn from,
// corrupt what they send; corrupt gets the updates of all liars, for they may
// collude. Either may be nil.
type attack struct {
	name, help string
	poison     func(model.Set) model.Set
	corrupt    func(liars []*fedavg.Update)
}

func attacks() []attack {
	return []attack{
		{name: "none", help: "all are honest"},
		{name: "NaN", help: "one number of the update is NaN", corrupt: each(func(u *fedavg.Update) { u.Vectors[0].F32[0] = float32(math.NaN()) })},
		{name: "x1000", help: "the update is a thousand times too large", corrupt: each(func(u *fedavg.Update) { multiply(u, 1000) })},
		{name: "sign-flipped", help: "the update points the other way", corrupt: each(func(u *fedavg.Update) { multiply(u, -1) })},
		{name: "sign-flipped x8", help: "the other way, and as large as passes the norm", corrupt: each(func(u *fedavg.Update) { multiply(u, -8) })},
		{name: "label-flipped", help: "trained on data whose labels are wrong", poison: flipLabels},
		{name: "blind to faults", help: "trained on faults that are called healthy, three times as large", poison: callHealthy, corrupt: each(func(u *fedavg.Update) { multiply(u, 3) })},
		{name: "colluding", help: "all liars send the same: the mean of their flipped labels, five times as large", poison: flipLabels, corrupt: collude},
		{name: "a little is enough", help: "colluding within the spread of honest updates: mean less 1.5 standard deviations", corrupt: little},
	}
}

func each(fn func(*fedavg.Update)) func([]*fedavg.Update) {
	return func(us []*fedavg.Update) {
		for _, u := range us {
			fn(u)
		}
	}
}

func multiply(u *fedavg.Update, by float32) {
	for _, v := range u.Vectors {
		for i := range v.F32 {
			v.F32[i] *= by
		}
	}
}

// flipLabels calls each class by the name of the next.
func flipLabels(s model.Set) model.Set {
	s.Targets = slices.Clone(s.Targets)
	for i, c := range s.Targets {
		s.Targets[i] = math.Mod(c+1, float64(len(classes)))
	}
	return s
}

// callHealthy calls every row healthy.
func callHealthy(s model.Set) model.Set {
	s.Targets = make([]float64, len(s.Targets))
	return s
}

// eachElement replaces every element of all updates by what fn makes of them.
func eachElement(us []*fedavg.Update, fn func(xs []float64) float64) {
	xs := make([]float64, len(us))
	for v := range us[0].Vectors {
		for i := range us[0].Vectors[v].F32 {
			for k, u := range us {
				xs[k] = float64(u.Vectors[v].F32[i])
			}
			y := float32(fn(xs))
			for _, u := range us {
				u.Vectors[v].F32[i] = y
			}
		}
	}
}

func mean(xs []float64) float64 {
	s := 0.0
	for _, x := range xs {
		s += x
	}
	return s / float64(len(xs))
}

func collude(us []*fedavg.Update) {
	eachElement(us, func(xs []float64) float64 { return 5 * mean(xs) })
}

// little is the attack of Baruch, Baruch and Goldberg, "A Little Is Enough" (2019,
// arXiv 1902.06156, algorithm 3): the liars estimate mean and spread from what
// they learned honestly themselves.
func little(us []*fedavg.Update) {
	eachElement(us, func(xs []float64) float64 {
		m, s := mean(xs), 0.0
		for _, x := range xs {
			s += (x - m) * (x - m)
		}
		return m - 1.5*math.Sqrt(s/float64(len(xs)))
	})
}
