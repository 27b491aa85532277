package robust

import (
	"context"
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/verify"
)

// federation is one run of the task. Attackers are the first gateways; their
// names are as good as any.
type federation struct {
	*world
	attack   attack
	spec     job.Spec
	family   model.Family
	strategy fedavg.Strategy
	verified bool

	global, state []fedavg.Vector
	outcome       Outcome
	distrusted    map[string]bool // in quarantine, for good: released by hand only
	history       []verify.Level
}

func (w *world) federate(ctx context.Context, a attack, s job.StrategySpec, verified bool) (Outcome, error) {
	f := &federation{world: w, attack: a, spec: spec(s), verified: verified, distrusted: map[string]bool{}}
	var err error
	if f.family, err = f.spec.Family(); err != nil {
		return Outcome{}, err
	}
	if f.strategy, err = f.spec.NewStrategy(); err != nil {
		return Outcome{}, err
	}
	f.global = f.family.Init(w.cfg.Seed)
	for round := range w.cfg.Rounds {
		if err := f.round(ctx, uint64(round+1)); err != nil {
			return Outcome{}, fmt.Errorf("attack %q, strategy %q, round %d: %w", a.name, s.Name, round+1, err)
		}
	}
	for g := range f.distrusted {
		if g < gatewayName(w.cfg.Attackers) && a.name != attacks()[0].name {
			f.outcome.Caught++
		} else {
			f.outcome.Wronged++
		}
	}
	return f.outcome, f.measure()
}

// measure judges the last model; one that cannot be loaded guesses.
func (f *federation) measure() error {
	m, err := f.family.Load(f.global)
	if err != nil {
		f.outcome.Accuracy = 1 / float64(len(classes))
		return nil //nolint:nilerr // an outcome too
	}
	c, ok := m.(model.Classifier)
	if !ok {
		return errors.New("the model is no classifier")
	}
	f.outcome.Accuracy, f.outcome.MacroF1 = f.judge(c)
	return nil
}

// round trains, lies, verifies if asked to, and aggregates.
func (f *federation) round(ctx context.Context, round uint64) error {
	updates, err := f.train(ctx, round)
	if err != nil {
		return err
	}
	if f.attack.corrupt != nil {
		f.attack.corrupt(updates[:f.cfg.Attackers])
	}
	if f.verified {
		if updates, err = f.verify(updates); err != nil {
			return err
		}
	}
	result, err := f.strategy.Aggregate(f.global, f.state, updates)
	if err != nil { // the round is lost, the federation goes on
		f.outcome.Lost++
		return nil //nolint:nilerr // counted
	}
	f.global, f.state = result.Vectors, result.State
	return nil
}

func (f *federation) train(ctx context.Context, round uint64) (fedavg.Slice, error) {
	updates := make(fedavg.Slice, len(f.gateways))
	for g, set := range f.gateways {
		if g < f.cfg.Attackers && f.attack.poison != nil {
			set = f.attack.poison(set)
		}
		trained, err := f.family.Train(ctx, f.global, []model.Set{set}, f.spec.TrainOptions(f.cfg.Seed+round, round-1))
		if err != nil {
			return nil, err
		}
		updates[g] = &fedavg.Update{Job: f.spec.Name, Round: round, Attempt: 1, Agent: gatewayName(g), Weight: trained.Weight, Vectors: trained.Vectors}
	}
	return updates, nil
}

// verify does what the coordinator does: it refuses what is not finite, judges the
// rest, and leaves out whoever is in quarantine.
func (f *federation) verify(updates fedavg.Slice) (fedavg.Slice, error) {
	layout := f.family.ParamLayout()
	var sound fedavg.Slice
	for _, u := range updates {
		if u.Verify(layout) != nil {
			f.distrusted[u.Agent] = true
		} else {
			sound = append(sound, u)
		}
	}
	verdicts, level, ok, err := verify.Inspect(sound, verify.Inspection{
		Kind: verify.Deltas, Policy: verify.DefaultPolicy(), History: f.history, Distrusted: f.distrusted})
	if err != nil {
		return nil, err
	}
	if ok {
		f.history = append(f.history, level)
		f.history = f.history[max(0, len(f.history)-verify.MaxHistory):]
	}
	for _, v := range verdicts {
		if v.Offence != nil {
			f.distrusted[v.Gateway] = true
		}
	}
	var trusted fedavg.Slice
	for _, u := range sound {
		if !f.distrusted[u.Agent] {
			trusted = append(trusted, u)
		}
	}
	return trusted, nil
}
