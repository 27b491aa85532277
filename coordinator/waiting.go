package coordinator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// An update may count in a later round than the one it answers: every one of an
// asynchronous job, and late ones under `late: next`. It waits in a record of its
// own, one a gateway, until a round closes with it. Which ones that are stands in
// the head, and once the round has ended, so does that they were taken: an update
// sent again is recognised even when its record is long gone.

// lateStaleness is how many versions may have followed the one that a late update
// started from; fedbuff has a setting for that.
const lateStaleness = 20

// async says whether versions are made of arrivals instead of rounds.
func (j *jobState) async() bool { return j.spec.Strategy.Async() }

// keepsLate says whether a late update counts in the next round.
func (j *jobState) keepsLate() bool {
	return j.spec.Rounds.Late == job.LateNext && j.family.Learning() == model.Gradient && !j.async()
}

func (j *jobState) maxStaleness() uint64 {
	if j.async() {
		return uint64(j.spec.Strategy.MaxStaleness)
	}
	return lateStaleness
}

// staleness is how many versions lie between the one that an update started from
// and the one it is to help make.
func staleness(from try, round uint64) uint64 { return round - min(from.Round, round) }

// mayCount says whether a waiting update may still count.
func (j *jobState) mayCount(gateway string, from try) bool {
	return (j.async() || j.keepsLate()) && from.Round > j.head.Initial && from.after(j.head.Taken[gateway]) &&
		staleness(from, j.head.Version+1) <= j.maxStaleness()
}

// loadWaiting reads which updates wait.
func (j *jobState) loadWaiting(ctx context.Context) error {
	prefix := waitingPrefix(j.spec.Name)
	records, err := j.c.st.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("list waiting updates of job %q: %w", j.spec.Name, err)
	}
	waiting := map[string]updateRecord{}
	for _, r := range records {
		var u updateRecord
		if err := json.Unmarshal(r.Value, &u); err != nil {
			return fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		if gateway := r.Key[len(prefix):]; j.mayCount(gateway, u.From) {
			waiting[gateway] = u
		}
	}
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	j.waiting = waiting
	return nil
}

// countWaiting lists what waits, for a round that closes. c.mu is held.
func (j *jobState) countWaiting() []carried {
	var list []carried
	for _, gateway := range slices.Sorted(maps.Keys(j.waiting)) {
		if from := j.waiting[gateway].From; j.mayCount(gateway, from) {
			list = append(list, carried{gateway, from})
		}
	}
	return list
}

// taken is head.Taken once the open round has ended.
func (j *jobState) taken() map[string]try {
	if j.cur == nil || len(j.cur.Carried) == 0 {
		return j.head.Taken
	}
	all := map[string]try{}
	for gateway, t := range j.head.Taken {
		if staleness(t, j.head.Version+1) <= j.maxStaleness() { // an older one is too late in any case
			all[gateway] = t
		}
	}
	for _, c := range j.cur.Carried {
		all[c.Gateway] = c.try
	}
	return all
}

// dropTaken forgets the waiting updates that have been taken. c.mu is held.
func (j *jobState) dropTaken() {
	maps.DeleteFunc(j.waiting, func(gateway string, u updateRecord) bool { return !j.mayCount(gateway, u.From) })
}

// baseOf returns the digest of the parameters from which a round starts, if they
// are of the present lineage and still known. c.mu is held.
func (j *jobState) baseOf(round uint64) (sha256 string, ok bool) {
	switch {
	case round == j.head.Version+1:
		return j.head.Model.SHA256, true
	case round == j.head.Initial+1:
		return j.head.InitialSHA256, j.head.InitialSHA256 != ""
	case round <= j.head.Initial || round > j.head.Version+1:
		return "", false
	}
	v, ok := j.book.Find(round - 1)
	return v.Blob.SHA256, ok && v.Spec == j.digest
}

// placeWaiting says what becomes of an update that is to wait for a round to
// count in: the digest of its base if it is wanted, else the receipt. c.mu is held.
func (u *upload) placeWaiting() (base string, r rpc.Receipt, err error) {
	j, from := u.j, u.from()
	if !from.after(j.head.Taken[u.gateway]) {
		return "", rpc.Receipt{Duplicate: true}, nil
	}
	if have, ok := j.waiting[u.gateway]; ok && have.From == from {
		if have.Blob.SHA256 != u.header.Blob.SHA256 {
			return "", r, u.contradiction()
		}
		return "", rpc.Receipt{Duplicate: true}, nil
	}
	base, known := j.baseOf(from.Round)
	if !known || j.done() || !j.mayCount(u.gateway, from) {
		return "", rpc.Receipt{Late: true}, nil
	}
	if _, occupied := j.waiting[u.gateway]; occupied {
		if j.async() {
			return "", r, rpc.Refuse(rpc.Busy, fmt.Errorf("an update of gateway %q waits for the next version of job %q already; send this one again then", u.gateway, u.id.Job))
		}
		return "", rpc.Receipt{Late: true}, nil
	}
	u.waits = true
	return base, r, nil
}

func (u *upload) from() try { return try{u.id.Round, u.id.Attempt} }

// key is where the record of the update belongs.
func (u *upload) key() string {
	if u.waits {
		return waitingKey(u.id.Job, u.gateway)
	}
	return updateKey(u.id, u.gateway)
}

// recordWaiting writes the record of an update that waits, in the place of one
// that has been taken.
func (u *upload) recordWaiting(ctx context.Context, record updateRecord) error {
	var old updateRecord
	revision, err := getRecord(ctx, u.c.st, u.key(), &old)
	if err != nil {
		return err
	}
	if revision != 0 {
		u.c.mu.Lock()
		counts := u.j.mayCount(u.gateway, old.From)
		u.c.mu.Unlock()
		if counts {
			return &store.ConflictError{Key: u.key(), Got: revision}
		}
	}
	_, err = putRecord(ctx, u.c.st, u.key(), record, revision)
	return err
}

// wait puts an update that is durable among those that wait.
func (u *upload) wait(record updateRecord) rpc.Receipt {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	if !u.j.mayCount(u.gateway, record.From) {
		return rpc.Receipt{Late: true} // too many versions were committed meanwhile
	}
	u.j.arrived(u.gateway, record)
	u.j.poke()
	u.c.notify()
	return rpc.Receipt{}
}

// contributors are the gateways whose updates make the next version, sorted.
func (o *openRound) contributors() []string {
	names := slices.Clone(o.Counted)
	for _, c := range o.Carried {
		names = append(names, c.Gateway)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// findCarried finds a gateway's in a sorted list.
func findCarried(list []carried, gateway string) (i int, found bool) {
	return slices.BinarySearchFunc(list, gateway, func(c carried, name string) int { return cmp.Compare(c.Gateway, name) })
}

// readCarried reads an update that waited, if gateway has one in the closed round.
func (s *storedUpdates) readCarried(gateway string) (*fedavg.Update, error) {
	round := s.j.cur
	i, found := findCarried(round.Carried, gateway)
	if !found {
		return nil, nil
	}
	var rec updateRecord
	key := waitingKey(s.j.spec.Name, gateway)
	revision, err := getRecord(s.ctx, s.j.c.st, key, &rec)
	if err != nil {
		return nil, err
	}
	if revision == 0 || rec.From != round.Carried[i].try {
		return nil, &fedavg.UpdateError{Agent: gateway, Err: fmt.Errorf("record %q is gone from the store", key)}
	}
	u, err := s.j.readUpdate(s.ctx, gateway, rec.Blob.SHA256, &s.bytes)
	if err != nil {
		return nil, err
	}
	if u.Staleness = int(staleness(rec.From, round.Round)); !s.j.async() {
		u.Weight *= fedavg.StalenessWeight(u.Staleness)
	}
	return u, nil
}

// errNoState says that the strategy's state is not what the head says.
var errNoState = errors.New("state of the strategy cannot be read")

// readState reads what the strategy kept from the round before, nil in the first.
func (j *jobState) readState(ctx context.Context) ([]fedavg.Vector, error) {
	if j.head.State == (store.Blob{}) {
		return nil, nil
	}
	data, err := j.c.readBlob(ctx, j.head.State.SHA256)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoState, err)
	}
	state, err := fedavg.DecodeState(data, j.strategy.StateLayout(j.layout))
	if err != nil {
		return nil, fmt.Errorf("%w: %w; restore the data directory from a backup", errNoState, err)
	}
	return state, nil
}

// writeState stores what the strategy keeps for the next round.
func (j *jobState) writeState(ctx context.Context, state []fedavg.Vector) (blob store.Blob, release func(), err error) {
	if state == nil {
		return store.Blob{}, func() {}, nil
	}
	data, err := fedavg.EncodeState(state)
	if err != nil {
		return store.Blob{}, nil, err
	}
	return j.c.writeBlob(ctx, data)
}

// sharedState is the strategy's state, if agents need it in order to train.
func (j *jobState) sharedState() store.Blob {
	if j.spec.Strategy.SharesState() {
		return j.head.State
	}
	return store.Blob{}
}

// names says whether the head names the blob, or an update that waits. c.mu is held.
func (j *jobState) names(sha256 string) bool {
	if j.head.Model.SHA256 == sha256 || j.head.State.SHA256 == sha256 {
		return true
	}
	for _, u := range j.waiting {
		if u.Blob.SHA256 == sha256 {
			return true
		}
	}
	return false
}

// viewCarried are the participants that stand in the round for updates of earlier
// ones. Those of an asynchronous job are participants anyhow. c.mu is held.
func (j *jobState) viewCarried() []fleet.Participant {
	if j.async() {
		return nil
	}
	var list []fleet.Participant
	for _, c := range j.cur.Carried {
		p := participant{Participant: fleet.Participant{Gateway: c.Gateway}}
		p.receive(j.waiting[c.Gateway], j.cur.Started)
		p.Staleness = int(staleness(c.try, j.cur.Round))
		list = append(list, p.Participant)
	}
	return list
}

// placeAsync is place for an asynchronous job: whoever had a version may deliver
// what it learned from it. c.mu is held.
func (u *upload) placeAsync() (base string, r rpc.Receipt, err error) {
	if at := (try{u.j.head.Version + 1, u.j.head.Attempt}); u.id.Round == 0 || u.id.Attempt == 0 || u.from().after(at) {
		return "", r, rpc.Refuse(rpc.UnknownRound, fmt.Errorf("round %d, attempt %d of job %q was never announced; drop the update", u.id.Round, u.id.Attempt, u.id.Job))
	}
	return u.placeWaiting()
}
