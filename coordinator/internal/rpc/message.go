// Package rpc is the coordinator's end of the wire: sessions, uploads and
// downloads. It turns the wire's messages into plain values, keeps a slow or
// misbehaving gateway from holding up the rest, and leaves every decision to a
// [Backend].
package rpc

import (
	"context"
	"io"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/store"
)

// Backend decides. Its methods are called from many goroutines at once; the name
// of a gateway comes from its verified certificate. Errors meant for the agent are
// *Refusal.
type Backend interface {
	// Join takes a new session in, replacing an older one of the same gateway,
	// and returns what to tell it first. From then on peer may be sent to.
	Join(ctx context.Context, who Identity, hello Hello, peer Peer) ([]Message, error)
	// Leave is called once for every session that joined, when it has ended.
	Leave(gateway string, peer Peer)
	// Status takes in the newest state of a gateway.
	Status(gateway string, s Status)
	// Answer takes in a gateway's answer to a RoundStart.
	Answer(gateway string, a RoundAnswer)
	// Alarm stores an alarm event; it is acknowledged when the error is nil.
	Alarm(ctx context.Context, gateway string, a AlarmEvent) error
	// Upload reads an update from the chunks recv returns until io.EOF and
	// returns when it is durable.
	Upload(ctx context.Context, gateway string, h UploadHeader, recv func() ([]byte, error)) (Receipt, error)
	// UploadStatus says how many bytes of an update are held, from its beginning.
	UploadStatus(ctx context.Context, gateway string, h UploadHeader) (offset uint64, err error)
	// OpenModel opens a global model from an offset.
	OpenModel(ctx context.Context, gateway, sha256 string, offset uint64) (io.ReadCloser, error)
	// Invalid counts a message that was ignored; kind is "status" or "alarm".
	Invalid(gateway, kind string, err error)
}

// Peer is an open session as the Backend sees it. Both methods return at once
// and may be called at any time, also after the session ended.
type Peer interface {
	// Send queues m. If the gateway reads so slowly that the queue is full, the
	// session is closed: it will connect again and be told the newest state.
	Send(m Message)
	// Close ends the session; why is told to the gateway. The first call counts.
	Close(why *Refusal)
}

// Identity is who opened a session.
type Identity struct {
	Gateway     string
	CertExpires time.Time
}

// Hello is how an agent introduces itself.
type Hello struct {
	Version  string
	Machines []Machine
}

// Machine names a machine and its class.
type Machine struct{ Name, Class string }

// Status is the newest state of a gateway. Numbers are finite, times sane.
type Status struct {
	Machines      []fleet.Machine
	Jobs          []Readiness
	Installed     map[string]map[uint64]bool // versions in use by at least one machine, by job
	ReceivedTotal uint64
	DroppedTotal  map[string]uint64
}

// Readiness says whether an agent could take part in a round of a job now.
type Readiness struct {
	Job, Digest string
	Ready       bool
	Samples     uint64
	Reason      string // why not
}

// RoundAnswer accepts or declines a round.
type RoundAnswer struct {
	Job      string
	Round    uint64
	Attempt  uint32
	Accepted bool
	Reason   string // why declined
}

// AlarmEvent is one change of one alarm episode.
type AlarmEvent struct {
	Revision uint32
	Alarm    fleet.Alarm // Gateway is filled in by the Backend
}

// UploadHeader announces an update.
type UploadHeader struct {
	Job     string
	Round   uint64
	Attempt uint32
	Blob    store.Blob
	Offset  uint64 // of the first byte that follows
}

// Receipt says what became of an update.
type Receipt struct {
	Duplicate bool // it was held already
	Late      bool // the round had ended; it was not used
}

// Message is what a coordinator tells an agent: Jobs, RoundStart, RoundEnd,
// Release. Welcome and alarm acknowledgements are this package's own business.
type Message interface{ message() }

// Jobs is the complete list of jobs for a gateway.
type Jobs []Job

// Job is a spec as JSON with its digest.
type Job struct {
	SpecJSON []byte
	Digest   string
}

// RoundStart asks a gateway to take part in a round.
type RoundStart struct {
	Job, Digest string
	Round       uint64
	Attempt     uint32
	Model       store.Blob
	State       store.Blob // of the strategy, if agents need it; else zero
	Deadline    time.Time
	Seed        uint64
	// KeepEarlier lets a gateway that is busy with an earlier round of the job go on
	// with that, and answer with it.
	KeepEarlier bool
}

// RoundEnd tells how a round ended.
type RoundEnd struct {
	Job       string
	Round     uint64
	Attempt   uint32
	Committed bool
	Reason    string // why not
}

// Release tells which version of a job's model to run.
type Release struct {
	Job, Digest string
	Version     uint64
	Model       store.Blob
}

func (Jobs) message()       {}
func (RoundStart) message() {}
func (RoundEnd) message()   {}
func (Release) message()    {}
