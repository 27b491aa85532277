package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
)

// errUnusable marks a round that cannot be aggregated however often it is tried.
var errUnusable = errors.New("updates cannot be aggregated")

// aggregate makes the next global model of the counted updates. Its bytes depend
// on the base model, the strategy's state and the updates alone: not on time, nor on the order of
// arrival, nor on how often it is computed. It notes in phases what took how long.
func (j *jobState) aggregate(ctx context.Context, phases map[string]float64) (*fedavg.Global, []fedavg.Vector, error) {
	base, err := j.readGlobal(ctx, j.cur.base.SHA256)
	if err != nil {
		return nil, nil, err
	}
	state, err := j.readState(ctx)
	if err != nil {
		return nil, nil, err
	}
	began := time.Now()
	updates, err := j.countable(ctx)
	judged := time.Now()
	var result fedavg.Result
	if err == nil {
		result, err = j.strategy.Aggregate(base.Vectors, state, updates)
	}
	phases["verify"], phases["aggregate"] = judged.Sub(began).Seconds(), time.Since(judged).Seconds()
	var bad *fedavg.UpdateError
	var step *fedavg.StepError
	if errors.As(err, &bad) || errors.As(err, &step) || errors.Is(err, fedavg.ErrNoUpdates) {
		return nil, nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err != nil {
		return nil, nil, err
	}
	return &fedavg.Global{
		Job: j.spec.Name, Version: j.cur.Round, SpecDigest: j.digest, Base: j.cur.base.SHA256,
		Round: j.cur.Round, Attempt: j.cur.Attempt, Seed: j.spec.Seed, Weight: result.Weight,
		Participants: result.Participants, Metrics: result.Metrics, Data: result.Data, Vectors: result.Vectors,
	}, result.State, nil
}

// storedUpdates are updates of the closed round, read one by one, by gateway. It
// implements fedavg.Updates.
type storedUpdates struct {
	ctx      context.Context
	j        *jobState
	gateways []string     // sorted
	bytes    bytes.Buffer // of the update read last: thousands of new ones would be work to clear away
}

// Len implements fedavg.Updates.
func (s *storedUpdates) Len() int {
	n := 0
	for _, gateway := range s.gateways {
		if _, counts := slices.BinarySearch(s.j.cur.Counted, gateway); counts {
			n++
		}
		if _, counts := findCarried(s.j.cur.Carried, gateway); counts {
			n++
		}
	}
	return n
}

// Each implements fedavg.Updates.
func (s *storedUpdates) Each(fn func(*fedavg.Update) error) error {
	for _, gateway := range s.gateways {
		if err := s.of(gateway, fn); err != nil {
			return err
		}
	}
	return nil
}

// of calls fn with what counts of a gateway: the update of the round itself, and one
// that waited for it.
func (s *storedUpdates) of(gateway string, fn func(*fedavg.Update) error) error {
	for _, read := range []func(string) (*fedavg.Update, error){s.load, s.readCarried} {
		u, err := read(gateway)
		if err == nil && u != nil {
			err = fn(u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hold reads all of the updates into memory, in the order of Each, with all processors:
// in a large fleet this is most of what a round takes to close.
func (s *storedUpdates) hold() (fedavg.Slice, error) {
	gateways := s.gateways
	parts := make([]fedavg.Slice, len(gateways))
	var group errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for first := range workers {
		group.Go(func() error {
			s := storedUpdates{ctx: s.ctx, j: s.j} // with bytes of its own
			for i := first; i < len(gateways); i += workers {
				if err := s.of(gateways[i], func(u *fedavg.Update) error { parts[i] = append(parts[i], u); return nil }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(parts...), nil
}

// load reads the update of the round itself, if gateway has one in it.
func (s *storedUpdates) load(gateway string) (*fedavg.Update, error) {
	if _, counts := slices.BinarySearch(s.j.cur.Counted, gateway); !counts {
		return nil, nil
	}
	var rec updateRecord
	key := updateKey(s.j.idOf(s.j.cur.openRound), gateway)
	revision, err := getRecord(s.ctx, s.j.c.st, key, &rec)
	if err != nil {
		return nil, err
	}
	if revision == 0 {
		return nil, &fedavg.UpdateError{Agent: gateway, Err: fmt.Errorf("record %q is gone from the store", key)}
	}
	return s.j.readUpdate(s.ctx, gateway, rec.Blob.SHA256, &s.bytes)
}

// readUpdate reads a stored update by way of buf, and decodes it. One that is lost or
// damaged is a *fedavg.UpdateError.
func (j *jobState) readUpdate(ctx context.Context, gateway, sha256 string, buf *bytes.Buffer) (*fedavg.Update, error) {
	err := j.c.readBlobInto(ctx, sha256, buf)
	var corrupt *store.CorruptError
	if errors.Is(err, store.ErrNotFound) || errors.As(err, &corrupt) {
		return nil, &fedavg.UpdateError{Agent: gateway, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("read update of gateway %q: %w", gateway, err)
	}
	u, err := compress.Decode(buf.Bytes(), j.updates)
	if err != nil {
		return nil, &fedavg.UpdateError{Agent: gateway, Err: err}
	}
	return u, nil
}

// summary is the open round as its history will tell it.
func (j *jobState) summary(now time.Time) fleet.Round {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	r := j.view()
	r.Ended, r.Seconds = now, now.Sub(r.Started).Seconds()
	r.Deadline = time.Time{}
	if len(r.Participants) > detailedParticipants { // keep the record within store.MaxRecordBytes
		for i := range r.Participants {
			r.Participants[i].Metrics = nil
		}
	}
	return r
}

// detailedParticipants is up to how many the history keeps each one's metrics.
const detailedParticipants = 200

// view is the open round as the page shows it. c.mu is held.
func (j *jobState) view() fleet.Round {
	cur := j.cur
	r := fleet.Round{
		Job: j.spec.Name, Round: cur.Round, Attempt: cur.Attempt, State: "open",
		Started: cur.Started, Deadline: cur.Deadline, Participants: make([]fleet.Participant, 0, len(cur.Gateways)),
		BytesOut: uint64(cur.bytesOut.Load()), Seconds: time.Since(cur.Started).Seconds(),
	}
	for _, name := range cur.Gateways {
		p := cur.parts[name].Participant
		p.Metrics = maps.Clone(p.Metrics)
		r.Participants = append(r.Participants, p)
		if p.State == received {
			r.BytesIn += p.Bytes
		}
	}
	r.Participants = append(r.Participants, j.viewCarried()...)
	cur.showAside(r.Participants)
	return r
}
