package model

func (r RidgeSpec) withDefaults() *RidgeSpec {
	setDefault(&r.Units, 400)
	setDefault(&r.Inputs, 3)
	setDefault(&r.Members, 4)
	setDefault(&r.Lambda, 10)
	setDefault(&r.Cap, 125)
	setDefault(&r.Forgetting, 1)
	setDefault(&r.Seed, 1)
	return &r
}

// Limits of a ridge model, so that a slip of the keyboard cannot exhaust a
// gateway's memory: φφᵀ of 2000 units takes 32 MB to sum.
const (
	maxRidgeUnits   = 2000
	maxRidgeMembers = 64
)

func (r *RidgeSpec) validate(bad func(path, format string, args ...any)) {
	if r.Units < 1 || r.Units > maxRidgeUnits {
		bad("ridge.units", "is %d; it must be 1 to %d", r.Units, maxRidgeUnits)
	}
	if r.Inputs < 1 {
		bad("ridge.inputs", "is %d; it must be at least 1", r.Inputs)
	}
	if r.Members < 1 || r.Members > maxRidgeMembers {
		bad("ridge.members", "is %d; it must be 1 to %d", r.Members, maxRidgeMembers)
	}
	if !positive(r.Lambda) {
		bad("ridge.lambda", "is %v; it must be a positive number", r.Lambda)
	}
	checkCap("ridge.cap", r.Cap, bad)
	if !(r.Forgetting > 0 && r.Forgetting <= 1) {
		bad("ridge.forgetting", "is %v; it must be above 0 and at most 1", r.Forgetting)
	}
}

func (m MLPSpec) withDefaults() *MLPSpec {
	m.Hidden = append([]int(nil), m.Hidden...)
	if len(m.Hidden) == 0 {
		m.Hidden = []int{32, 16}
	}
	setDefault(&m.Epochs, 2)
	setDefault(&m.BatchSize, 32)
	setDefault(&m.LearningRate, 0.003)
	setDefault(&m.Cap, 125)
	return &m
}

func (m *MLPSpec) validate(bad func(path, format string, args ...any)) {
	checkHidden(m.Hidden, "mlp.hidden", bad)
	checkDescent("mlp", m.Epochs, descent{m.BatchSize, m.LearningRate, m.Proximal}, bad)
	checkCap("mlp.cap", m.Cap, bad)
}

func checkCap(path string, ceiling float64, bad func(path, format string, args ...any)) {
	if !(ceiling > 0 && ceiling <= 1e6) {
		bad(path, "is %v; it must be above 0 and at most a million", ceiling)
	}
}
