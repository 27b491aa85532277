// Package failpoint kills the process at a named durable step, so that a test can
// restart it and look at what is left.
//
// The points are compiled into every build, and one is armed by an environment
// variable that is read once, when the process starts. A build tag would make a
// point cost nothing at all, but then the binary that was tested would not be the
// one that is shipped. A point that is not armed is one comparison with nil, next
// to a write that waits for a disk; BenchmarkHere says how long that takes.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Env arms a point: "outbox.put", or "outbox.put:3" for the third time it is reached.
// A process that is to die there and cannot understand the value does not start.
const Env = "MILLWRIGHT_FAILPOINT"

// Point names a place in the code, by what has just been done.
type Point string

// The coordinator's points.
const (
	StoreCommits   Point = "store.commits"   // a transaction is about to be committed
	StoreCommitted Point = "store.committed" // it is durable, and nobody has been told
	StorePiece     Point = "store.piece"     // a piece of a blob is durable, the rest is not

	JobInitial     Point = "job.initial"     // the first parameters are stored, the head is not
	RoundStarts    Point = "round.starts"    // a round is about to be opened in the head
	RoundStarted   Point = "round.started"   // it is open, and nobody has been told
	UploadReceived Point = "upload.received" // the blob of an update is stored, its record is not
	UploadRecorded Point = "upload.recorded" // the record is stored, the update not counted
	UploadCounted  Point = "upload.counted"  // the update is counted, not acknowledged
	RoundCloses    Point = "round.closes"    // the updates that count are known in memory only
	RoundClosed    Point = "round.closed"    // they are in the head
	RoundMerged    Point = "round.merged"    // the new model is computed and stored nowhere
	RoundStored    Point = "round.stored"    // its blob is stored, the head still names the old one
	RoundCommitted Point = "round.committed" // the head names it, and nobody has been told
	RoundRecorded  Point = "round.recorded"  // the round's record is written, the version's is not
	RoundWritten   Point = "round.written"   // the history is complete, the updates are still there
	RoundTidied    Point = "round.tidied"    // and they are gone
)

// The agent's points.
const (
	FileWritten  Point = "file.written"  // a temporary file is synced, not renamed
	FileRenamed  Point = "file.renamed"  // it is renamed, the directory not synced
	FileSynced   Point = "file.synced"   // both are done
	ModelFetched Point = "model.fetched" // the model a round starts from is on disk
	Trained      Point = "trained"       // an update is learned and nowhere but in memory
	OutboxPut    Point = "outbox.put"    // it is in the outbox, and was not offered
	UploadSent   Point = "upload.sent"   // it was sent, and no receipt has come
	OutboxAcked  Point = "outbox.acked"  // the receipt has come, the outbox does not know
	OutboxMarked Point = "outbox.marked" // the update is marked as received, the directory not synced
	OutboxKept   Point = "outbox.kept"   // and synced
	ReleaseSaved Point = "release.saved" // a released model is stored, and not in use

	SamplesCommit    Point = "samples.commit"    // a batch of feature vectors is about to be committed
	SamplesCommitted Point = "samples.committed" // it is durable
)

// plan is the point at which this process is to die.
type plan struct {
	point Point
	left  atomic.Int64 // times it may still be passed
}

// armed is nil in every process that no test started. It is never changed.
var armed = parse(os.Getenv(Env))

func parse(text string) *plan {
	if text == "" {
		return nil
	}
	name, times, counted := strings.Cut(text, ":")
	p := &plan{point: Point(name)}
	if counted {
		n, err := strconv.ParseInt(times, 10, 64)
		if err != nil || n < 1 {
			panic(fmt.Sprintf("%s is %q; write the name of a point, or name:times", Env, text))
		}
		p.left.Store(n - 1)
	}
	return p
}

// Here kills the process, as SIGKILL does, if p is armed and its turn has come.
func Here(p Point) {
	if armed != nil {
		armed.reach(p)
	}
}

func (a *plan) reach(p Point) {
	if a.point != p || a.left.Add(-1) >= 0 {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(fmt.Sprintf("die at %s: %v", p, err))
	}
	select {} // nothing more may happen until the signal arrives
}
