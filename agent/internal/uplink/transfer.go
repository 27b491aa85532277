package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// transferTime bounds one transfer: a coordinator that answers pings but reads
// or sends nothing must not hold it for ever.
func transferTime(size uint64) time.Duration {
	const slowestBytesPerSecond = 4 << 10
	return 2*time.Minute + time.Duration(min(size/slowestBytesPerSecond, 1<<20))*time.Second
}

const damagedAtMost = 3 // times a model may arrive damaged before the round is declined

// resumeFrom is the size from which an upload asks what the coordinator holds.
const resumeFrom = 1 << 20

// fetch returns the model named by blob. It waits for connections and goes on
// after interruptions until ctx ends; what will not get better is an error.
func (u *Uplink) fetch(ctx context.Context, blob *fedpb.Blob) (*fetched, error) {
	var pause backoff
	damaged := 0
	for {
		c := u.line.wait(ctx)
		if c == nil {
			return nil, fmt.Errorf("wait for a connection to download model %.12s…: %w", blob.GetSha256(), context.Cause(ctx))
		}
		try, cancel := context.WithTimeout(ctx, transferTime(blob.GetSize()))
		data, err := u.models.get(try, c.client, blob)
		cancel()
		var limit *fedrpc.LimitError
		var digest *fedrpc.DigestError
		var size *fedrpc.SizeError
		switch {
		case err == nil:
			return data, nil
		case ctx.Err() != nil || fedrpc.Refused(err) || errors.As(err, &limit):
			return nil, err
		case errors.As(err, &digest), errors.As(err, &size) && size.Got > size.Want:
			u.shown.change(func(s *State) { s.TransfersDamaged++ })
			if damaged++; damaged == damagedAtMost {
				return nil, err
			}
		}
		if u.diary.due("download") {
			u.log.Warn("download of a model is tried again", "sha256", blob.GetSha256(), "error", err)
		}
		if !sleep(ctx, pause.next()) {
			return nil, err
		}
	}
}

// upload offers the updates in the outbox, oldest first, until ctx ends. After a
// failure an update waits while others go on; a new connection ends all waiting.
func (u *Uplink) upload(ctx context.Context) {
	box := u.box.Load()
	for {
		c := u.line.wait(ctx)
		if c == nil {
			return
		}
		u.uploadOver(ctx, c, box)
		if ctx.Err() != nil {
			return
		}
	}
}

func (u *Uplink) uploadOver(ctx context.Context, c *connection, box *outbox) {
	type delay struct {
		backoff
		until time.Time
	}
	delays := map[task]*delay{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := time.Hour
		for _, e := range box.list() {
			d := delays[e.task]
			if d == nil {
				d = &delay{}
				delays[e.task] = d
			}
			if wait := time.Until(d.until); wait > 0 {
				next = min(next, wait)
				continue
			}
			if !u.offer(ctx, c, box, e) {
				wait := d.next()
				d.until = time.Now().Add(wait)
				next = min(next, wait)
			}
			select {
			case <-c.done: // the next connection begins with the oldest
				return
			default:
			}
		}
		timer.Reset(next)
		select {
		case <-box.changed:
		case <-timer.C:
		case <-c.done:
			return
		}
	}
}

// offer uploads one update. It reports false if that must be tried again.
func (u *Uplink) offer(ctx context.Context, c *connection, box *outbox, e entry) bool {
	log := u.log.With("job", e.Job, "round", e.Round, "attempt", e.Attempt)
	giveUp := func(reason string, err error) bool {
		if ferr := box.drop(e); ferr != nil {
			log.Error("outbox cannot be changed", "error", ferr, "mend", localFailure.mend)
			return false
		}
		u.memory.drop(e.task)
		u.dropped(reason)
		log.Warn("update dropped", "why", reason, "error", err)
		return true
	}
	if err := box.verify(e); err != nil {
		return giveUp(dropDamaged, err)
	}
	receipt, err := u.send(ctx, c.client, box, e)
	switch {
	case err != nil && fedrpc.Refused(err):
		return giveUp(dropRefused, err)
	case err != nil:
		if ctx.Err() == nil && u.diary.due("upload") {
			log.Warn("upload of an update is tried again", "error", err)
		}
		return false
	case receipt.GetLate():
		return giveUp(dropLate, errors.New("the round had ended"))
	}
	failpoint.Here(failpoint.OutboxAcked)
	if err := box.received(e); err != nil {
		log.Error("outbox cannot be changed", "error", err, "mend", localFailure.mend)
	}
	if err := u.memory.settle(e.task, u.digestOf(e.Job)); err != nil {
		log.Error("what the agent remembers of the job cannot be changed", "error", err, "mend", localFailure.mend)
	}
	u.shown.change(func(s *State) { s.UpdatesDelivered++ })
	log.Info("update delivered", "size_bytes", e.Size, "duplicate", receipt.GetDuplicate())
	return true
}

func (u *Uplink) send(ctx context.Context, client fedpb.FederationClient, box *outbox, e entry) (*fedpb.UploadReceipt, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime(e.Size))
	defer cancel()
	r, err := box.open(e)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	header := &fedpb.UploadHeader{Job: e.Job, Round: e.Round, Attempt: e.Attempt, Blob: &fedpb.Blob{Sha256: e.SHA256, Size: e.Size}}
	if e.Size >= resumeFrom {
		held, err := client.UploadStatus(ctx, header)
		if err != nil && status.Code(err) != codes.Unimplemented { // by an older coordinator
			return nil, err
		}
		header.Offset = min(held.GetOffset(), e.Size)
		if _, err := r.Seek(int64(header.Offset), io.SeekCurrent); err != nil {
			return nil, err
		}
	}
	stream, err := client.Upload(ctx)
	if err != nil {
		return nil, err
	}
	if header.Offset == e.Size { // all is there already, and was not acknowledged
		err = stream.Send(&fedpb.UploadChunk{Header: header})
		header = nil
	}
	if err == nil {
		err = fedrpc.SendBlob(func(chunk []byte) error {
			m := &fedpb.UploadChunk{Header: header, Data: chunk}
			header = nil
			return stream.Send(m)
		}, r)
	}
	// io.EOF: the coordinator has answered already; the receipt or error says what.
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	failpoint.Here(failpoint.UploadSent)
	return stream.CloseAndRecv()
}
