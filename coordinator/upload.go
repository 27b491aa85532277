package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Upload implements rpc.Backend. It returns a receipt only when the update is
// durable, or is known to be of no use any more; a refusal is counted, and shown
// beside the participant when it is about the open round.
func (c *Coordinator) Upload(ctx context.Context, gateway string, h rpc.UploadHeader, recv func() ([]byte, error)) (rpc.Receipt, error) {
	u := &upload{c: c, gateway: gateway, header: h, id: roundID{h.Job, h.Round, h.Attempt}}
	receipt, err := u.take(ctx, recv)
	var refusal *rpc.Refusal
	switch {
	case errors.As(err, &refusal):
		c.metrics.rejected.WithLabelValues(string(refusal.Reason)).Inc()
		c.log.Warn("refused update", "gateway", gateway, "job", h.Job, "round", h.Round, "attempt", h.Attempt,
			"reason", refusal.Reason, "error", refusal.Err)
	case err != nil:
		c.log.Debug("upload broke off", "gateway", gateway, "job", h.Job, "round", h.Round, "error", err)
	case receipt.Duplicate:
		c.metrics.received.WithLabelValues("duplicate").Inc()
	case receipt.Late:
		c.metrics.received.WithLabelValues("late").Inc()
	default:
		c.metrics.received.WithLabelValues("counted").Inc()
	}
	return receipt, err
}

// upload is one update on its way in.
type upload struct {
	c       *Coordinator
	gateway string
	header  rpc.UploadHeader
	id      roundID
	j       *jobState
	waits   bool // the update is to count in a later round than its own
	doubt   bool // the record's write failed, and may have come to pass all the same
}

func (u *upload) take(ctx context.Context, recv func() ([]byte, error)) (rpc.Receipt, error) {
	if err := u.find(); err != nil {
		return rpc.Receipt{}, err
	}
	base, receipt, err := u.place()
	if err != nil || receipt != (rpc.Receipt{}) {
		return receipt, err
	}
	unpin := u.c.pins.hold(u.header.Blob.SHA256)
	record, err := u.store(ctx, base, recv)
	if err == nil {
		failpoint.Here(failpoint.UploadRecorded)
		receipt, err = u.register(ctx, record)
		failpoint.Here(failpoint.UploadCounted)
	}
	unpin()
	// A bad update takes its gateway out of the round; a broken line does not.
	var refusal *rpc.Refusal
	if errors.As(err, &refusal) && fedrpc.Refused(err) && refusal.Reason != rpc.Contradiction {
		u.reject(refusal)
		u.accuse(ctx, refusal)
	}
	if !u.doubt { // else the record, if there is one, must keep its blob
		u.discard(ctx)
	}
	return receipt, err
}

// find finds the job, and checks that the update can be named.
func (u *upload) find() error {
	if u.j = u.c.job(u.id.Job); u.j == nil {
		return rpc.Refuse(rpc.UnknownJob, fmt.Errorf("there is no job %.64q here; drop the update", u.id.Job))
	}
	if _, err := fedrpc.ParseDigest(u.header.Blob.SHA256); err != nil {
		return rpc.Refuse(rpc.Malformed, err)
	}
	return nil
}

// place says where the update belongs: the base model's digest if it is awaited,
// a receipt if nothing needs to be read, or a refusal.
func (u *upload) place() (base string, r rpc.Receipt, err error) {
	j := u.j
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	if j.async() {
		return u.placeAsync()
	}
	if cur := j.cur; cur != nil && cur.Round == u.id.Round && cur.Attempt == u.id.Attempt {
		p := cur.parts[u.gateway]
		switch {
		case p == nil:
			return "", r, rpc.Refuse(rpc.NotInRound, fmt.Errorf("round %d of job %q was not announced to gateway %q; drop the update", cur.Round, u.id.Job, u.gateway))
		case p.State == received && p.digest == u.header.Blob.SHA256:
			return "", rpc.Receipt{Duplicate: true}, nil
		case p.State == received:
			return "", r, u.contradiction()
		case cur.Closed && j.keepsLate():
			return u.placeWaiting()
		case cur.Closed:
			return "", rpc.Receipt{Late: true}, nil
		}
		return cur.base.SHA256, r, nil
	}
	for _, past := range j.rounds {
		if past.Round != u.id.Round || past.Attempt != u.id.Attempt {
			continue
		}
		for _, p := range past.Participants {
			switch {
			case p.Gateway != u.gateway || p.Staleness > 0 || past.State != "committed":
			case p.State == received: // its receipt was lost on the way
				return "", rpc.Receipt{Duplicate: true}, nil
			case p.State == training && j.keepsLate():
				return u.placeWaiting()
			}
		}
	}
	// Attempts begin at 1; of a committed round any may have been announced.
	next := j.head.Version + 1
	if u.id.Attempt > 0 && (u.id.Round > 0 && u.id.Round < next || u.id.Round == next && u.id.Attempt <= j.head.Attempt) {
		return "", rpc.Receipt{Late: true}, nil
	}
	return "", r, rpc.Refuse(rpc.UnknownRound, fmt.Errorf("round %d, attempt %d of job %q was never announced; drop the update", u.id.Round, u.id.Attempt, u.id.Job))
}

func (u *upload) contradiction() error {
	return rpc.Refuse(rpc.Contradiction, fmt.Errorf(
		"gateway %q has delivered another update to round %d, attempt %d of job %q already; drop this one", u.gateway, u.id.Round, u.id.Attempt, u.id.Job))
}

// store reads the update into the store and checks it there.
func (u *upload) store(ctx context.Context, base string, recv func() ([]byte, error)) (updateRecord, error) {
	blob := u.header.Blob
	if limit := uint64(u.c.cfg.Limits.MaxUpdateBytes); blob.Size > limit {
		return updateRecord{}, rpc.Refuse(rpc.TooLarge, fmt.Errorf(
			"update of %d bytes is larger than the limit of %d; raise limits.max_update_bytes at the coordinator, or choose a smaller model", blob.Size, limit))
	}
	take := u.storeSmall
	if blob.Size >= spoolFrom {
		take = u.storeLarge
	}
	stored, update, err := take(ctx, base, recv)
	if err != nil {
		return updateRecord{}, err
	}
	record := updateRecord{Blob: stored, Weight: update.Weight, Metrics: update.Metrics, Received: time.Now()}
	failpoint.Here(failpoint.UploadReceived)
	if u.waits {
		record.From = u.from()
		err = u.recordWaiting(ctx, record)
	} else {
		_, err = putRecord(ctx, u.c.st, u.key(), record, 0)
	}
	if isConflict(err) {
		return u.held(ctx)
	}
	if err != nil {
		u.doubt = true
		return updateRecord{}, u.storeFailed(err)
	}
	return record, nil
}

// storeSmall is the part of store that takes in the bytes, directly: they are checked
// in memory, and only what is sound is stored.
func (u *upload) storeSmall(ctx context.Context, base string, recv func() ([]byte, error)) (store.Blob, *fedavg.Update, error) {
	blob := u.header.Blob
	if u.header.Offset != 0 {
		return store.Blob{}, nil, rpc.Refuse(rpc.Damaged, fmt.Errorf("update goes on at byte %d, but nothing of it is held; send it from its beginning", u.header.Offset))
	}
	r, err := fedrpc.NewBlobReader(recv, blob.SHA256, blob.Size, blob.Size)
	if err != nil {
		return store.Blob{}, nil, rpc.Refuse(rpc.Malformed, err)
	}
	data := bytes.NewBuffer(make([]byte, 0, blob.Size+bytes.MinRead))
	_, err = data.ReadFrom(r)
	u.c.metrics.bytesIn.Add(float64(r.Offset()))
	if err != nil {
		return store.Blob{}, nil, receiveFailed(err)
	}
	update, err := u.decode(ctx, base, func() ([]byte, error) { return data.Bytes(), nil })
	if err != nil {
		return store.Blob{}, nil, err
	}
	stored, err := u.c.st.PutBlob(ctx, bytes.NewReader(data.Bytes()))
	if err != nil {
		return store.Blob{}, nil, u.putFailed(ctx, err)
	}
	return stored, update, nil
}

// receiveFailed tells why not all of the update has come.
func receiveFailed(err error) error {
	var size *fedrpc.SizeError
	var digest *fedrpc.DigestError
	if errors.As(err, &size) || errors.As(err, &digest) {
		return rpc.Refuse(rpc.Damaged, fmt.Errorf("receive update: %w; send it again", err))
	}
	return err
}

// putFailed tells why the store has not taken the update.
func (u *upload) putFailed(ctx context.Context, err error) error {
	if err = receiveFailed(err); ctx.Err() == nil && !errors.As(err, new(*rpc.Refusal)) {
		return u.storeFailed(err)
	}
	return err
}

// decode reads the update that load gets and checks all of it.
func (u *upload) decode(ctx context.Context, base string, load func() ([]byte, error)) (*fedavg.Update, error) {
	select { // an update in memory may take MaxUpdateBytes several times over
	case u.c.decoding <- struct{}{}:
		defer func() { <-u.c.decoding }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	data, err := load()
	if err != nil {
		return nil, u.storeFailed(err)
	}
	update, err := compress.Decode(data, u.j.updates)
	return update, u.judge(update, err, base)
}

// judge says why an update that was read, or could not be, is refused; nil if it
// is not.
func (u *upload) judge(update *fedavg.Update, err error, base string) error {
	var shape *fedavg.ShapeError
	var value *fedavg.ValueError
	switch {
	case errors.As(err, &shape):
		return rpc.Refuse(rpc.WrongShape, err)
	case errors.As(err, &value):
		return rpc.Refuse(rpc.UnusableNumber, err)
	case err != nil:
		return rpc.Refuse(rpc.Unreadable, err)
	case update.Job != u.id.Job || update.Round != u.id.Round || update.Attempt != u.id.Attempt || update.Agent != u.gateway:
		return rpc.Refuse(rpc.Mismatch, fmt.Errorf("update says it is of job %.64q, round %d, attempt %d, gateway %.64q, but came as job %q, round %d, attempt %d from gateway %q",
			update.Job, update.Round, update.Attempt, update.Agent, u.id.Job, u.id.Round, u.id.Attempt, u.gateway))
	case update.Base != base:
		return rpc.Refuse(rpc.WrongBase, fmt.Errorf("update was learned from global model %.16s…, but round %d starts from %.16s…; fetch that one and train again", update.Base, u.id.Round, base))
	case len(update.Metrics) > maxMetrics:
		return rpc.Refuse(rpc.Unreadable, fmt.Errorf("update has %d metrics; at most %d fit", len(update.Metrics), maxMetrics))
	}
	for name := range update.Metrics {
		if name == "" || len(name) > 64 {
			return rpc.Refuse(rpc.Unreadable, fmt.Errorf("update has a metric with a name of %d bytes; 1 to 64 are possible", len(name)))
		}
	}
	return nil
}

// maxMetrics bounds what a participant may report of its training.
const maxMetrics = 16

// held returns the record that is there already, if it is of the same update.
func (u *upload) held(ctx context.Context) (updateRecord, error) {
	var have updateRecord
	revision, err := getRecord(ctx, u.c.st, u.key(), &have)
	switch {
	case err != nil:
		return updateRecord{}, u.storeFailed(err)
	case revision == 0: // the round ended and was tidied up meanwhile
		return updateRecord{}, rpc.Refuse(rpc.Busy, errors.New("the round is just ending; send the update again"))
	case u.waits && have.From != u.from():
		return updateRecord{}, rpc.Refuse(rpc.Busy, errors.New("another update waits for the next version; send this one again then"))
	case have.Blob.SHA256 != u.header.Blob.SHA256:
		return updateRecord{}, u.contradiction()
	}
	return have, nil
}

// register counts a durable update in its round, if that is still open.
func (u *upload) register(ctx context.Context, record updateRecord) (rpc.Receipt, error) {
	if u.waits {
		return u.wait(record), nil
	}
	if u.count(record) {
		return rpc.Receipt{}, nil
	}
	// The same update came twice at once and the other call was faster, or the
	// round closed while this one was on its way. place knows which.
	if _, receipt, err := u.place(); err != nil || receipt.Duplicate {
		return receipt, err
	}
	// Nobody will read the record, and after a restart it must not look like one
	// that counts.
	if err := deleteRecord(ctx, u.c.st, updateKey(u.id, u.gateway)); err != nil {
		return rpc.Receipt{}, u.storeFailed(err)
	}
	return rpc.Receipt{Late: true}, nil
}

// count marks the update as received, unless its round is over or has it.
func (u *upload) count(record updateRecord) bool {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	cur := u.j.cur
	if cur == nil || cur.Closed || cur.Round != u.id.Round || cur.Attempt != u.id.Attempt {
		return false
	}
	p := cur.parts[u.gateway]
	if p.State == received {
		return false
	}
	p.receive(record, cur.Started)
	u.j.poke()
	u.c.notify()
	return true
}

// reject takes the gateway out of the open round, unless it has delivered.
func (u *upload) reject(why *rpc.Refusal) {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	u.j.excuse(u.gateway, u.from(), rejected, shorten(why.Error(), 200))
}

// discard deletes the blob of an update that is not used: because it was refused
// or late, or because its round ended so fast that the blob was still held when
// the round was tidied up.
func (u *upload) discard(ctx context.Context) {
	if err := u.c.dropBlobs(context.WithoutCancel(ctx), u.header.Blob.SHA256); err != nil {
		u.c.log.Warn("cannot delete unused update; the next start will", "error", err)
	}
}

// storeFailed tells the agent to try later; what happened is for the log.
func (u *upload) storeFailed(err error) error {
	u.c.metrics.storeErrors.Inc()
	u.c.log.Error("cannot store update", "gateway", u.gateway, "job", u.id.Job, "round", u.id.Round, "error", err)
	var corrupt *store.CorruptError
	if errors.As(err, &corrupt) {
		return rpc.Refuse(rpc.StoreFailed, errors.New("coordinator's store is damaged; send the update again later"))
	}
	return rpc.Refuse(rpc.StoreFailed, errors.New("coordinator cannot write to its store; send the update again later"))
}

func shorten(s string, bytes int) string {
	r := []rune(s)
	for len(string(r)) > bytes {
		r = r[:len(r)-1]
	}
	return string(r)
}
