package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// TrainingConfig bounds what learning may take from the box. Prediction is not bounded:
// it goes first.
type TrainingConfig struct {
	// Memory bounds what a training run adds to the process, by learning from no more
	// feature vectors than fit, the newest. Default 64MiB.
	Memory strictyaml.Size `yaml:"memory" json:"memory"`
	// CPU is the share of one core that a training run uses at most. Default 25%.
	CPU strictyaml.Percent `yaml:"cpu" json:"cpu"`
}

func (c *TrainingConfig) check(problem problemFunc) {
	if c.Memory < 1<<20 {
		problem("training.memory", "is %v; it must be at least 1MiB", c.Memory)
	}
	if c.CPU < 1 || c.CPU > 100 {
		problem("training.cpu", "is %v; it must lie between 1%% and 100%%, of one core", c.CPU)
	}
}

// What training takes, measured by TestTraining_StaysWithinItsMemory.
const (
	trainingRowBytes       = 160 // of a feature vector besides its numbers: who points at it
	trainingParameterBytes = 100 // of a parameter: gradients, moments, factors of the model received
	lifeParameterBytes     = 20  // the same of a model of kind rul, most of whose parameters are only added up
	// garbage is how many times what is in use the heap grows to before it is
	// collected (GOGC 100).
	garbage = 2
)

// trainingRows is how many feature vectors of a job fit into the memory for training.
func (c *TrainingConfig) trainingRows(spec *job.Spec, f model.Family) (int, error) {
	room := int64(c.Memory) / garbage
	parameters := int64(f.ParamLayout().Size()) * trainingParameterBytes
	if spec.Model.Kind == model.KindRUL {
		parameters = int64(f.ParamLayout().Size()) * lifeParameterBytes
	}
	row := int64(spec.Features.Len())*8 + trainingRowBytes
	if room-parameters < 2*row {
		return 0, fmt.Errorf("training takes %v for the model alone; set training.memory above %v, or give the job fewer features or units",
			strictyaml.Size(parameters*garbage), c.Memory)
	}
	return int(min((room-parameters)/row, 1<<30)), nil
}

// train learns a job from the healthy feature vectors of this gateway's machines.
func (a *Agent) train(ctx context.Context, name string, from uplink.Start) (uplink.Learned, error) {
	a.jobsMu.Lock()
	s := a.jobs[name]
	a.jobsMu.Unlock()
	if s == nil || s.family == nil {
		return uplink.Learned{}, fmt.Errorf("this agent serves no job %q", name)
	}
	select {
	case a.training <- struct{}{}: // one at a time: prediction needs the rest of the box
		defer func() { <-a.training }()
	case <-ctx.Done():
		return uplink.Learned{}, ctx.Err()
	}
	sets, err := a.trainingSets(s)
	if err != nil {
		return uplink.Learned{}, err
	}
	data := dataDigest(sets)
	options := s.spec.TrainOptions(from.Seed, from.Version)
	options.ServerControl, options.OwnControl = from.ServerControl, from.OwnControl
	t, err := trainAside(ctx, float64(a.cfg.Training.CPU)/100, s.family, from.Global, sets, options)
	if err != nil {
		return uplink.Learned{}, err
	}
	return uplink.Learned{
		Update:     fedavg.Update{Job: name, Weight: t.Weight, Steps: t.Steps, Vectors: t.Vectors, Metrics: t.Metrics, Data: data},
		OwnControl: t.OwnControl,
	}, nil
}

// trainingSets gathers what there is to learn a job from, as much as there is memory
// for, shared out among the machines.
func (a *Agent) trainingSets(s *served) ([]model.Set, error) {
	rows, err := a.cfg.Training.trainingRows(&s.spec, s.family)
	if err != nil {
		return nil, err
	}
	if s.spec.Purpose() == job.Prognose {
		return a.lives(s, rows)
	}
	machines := a.machinesOf(s.spec.Class)
	var sets []model.Set
	for i, m := range machines {
		set, ok, err := m.Training(s.digest, rows/(len(machines)-i), a.truth(m, &s.spec))
		if err != nil {
			a.log.Error("windows of a machine cannot be read", "machine", m.Name(), "error", err)
		}
		if ok && len(set.Rows) > 0 {
			sets = append(sets, set)
			rows -= len(set.Rows)
		}
	}
	if len(sets) == 0 {
		return nil, errors.New(a.readiness(s).Reason)
	}
	return sets, teach(s, sets)
}

// trainAside trains on a thread of its own, with at most a share of one core. A panic in
// it ends the round, not the agent. The thread keeps its priority: while one that the system
// puts off holds a processor of Go's scheduler, or keeps garbage collection waiting,
// prediction waits too (BenchmarkTraining_Latency on a busy box). Short spells of work with
// pauses in between delay it less.
func trainAside(ctx context.Context, share float64, f model.Family, global []fedavg.Vector, sets []model.Set, options model.TrainOptions) (t model.Trained, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("train: %v", p)
			}
		}()
		runtime.LockOSThread() // whose time is measured
		defer runtime.UnlockOSThread()
		t, err = f.Train(newPaced(ctx, share), global, sets, options)
	}()
	<-done
	return t, err
}

// paced is the context of work that may use a share of one core. Every Train asks it
// again and again, at least every few hundred rows, whether it has ended: before it
// answers, it waits until the thread is within its share. What is computed does not
// depend on it. It belongs to the goroutine that made it, which must be locked to its thread.
type paced struct {
	context.Context
	share  float64
	began  time.Time
	paused time.Duration

	since time.Time     // of the stretch that is accounted for
	used  time.Duration // by the thread until then
}

const (
	// pacedStretch is how long a thread that could not work may catch up.
	pacedStretch = time.Second
	// pacedLeast is the shortest pause: shorter ones cost more than they give.
	pacedLeast = 5 * time.Millisecond
)

func newPaced(ctx context.Context, share float64) *paced {
	now := time.Now()
	p := &paced{Context: ctx, share: share, began: now, since: now}
	p.used = p.worked()
	return p
}

// worked is how long the thread has worked. Where the system does not tell, it is taken
// for one that always does, except when it pauses.
func (p *paced) worked() time.Duration {
	if used, ok := threadTime(); ok {
		return used
	}
	return time.Since(p.began) - p.paused
}

// Err waits, then says whether the work is to end.
func (p *paced) Err() error {
	now := time.Now()
	owed := time.Duration(float64(p.worked()-p.used)/p.share) - now.Sub(p.since)
	if owed >= pacedLeast && p.share < 1 {
		pause := time.NewTimer(owed)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-p.Done():
		}
		p.paused += time.Since(now)
	}
	if now := time.Now(); now.Sub(p.since) >= pacedStretch {
		p.since, p.used = now, p.worked()
	}
	return p.Context.Err()
}
