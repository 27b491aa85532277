package rpc

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason says in a word why something was refused; it is a label of the metrics.
type Reason string

// The reasons. Which of them are final for an update, so that the agent drops it,
// is told by their code; see fedrpc.Refused.
const (
	TooLarge       Reason = "too_large"         // larger than limits.max_update_bytes
	Damaged        Reason = "damaged"           // not the announced bytes; worth another try
	Unreadable     Reason = "unreadable"        // not a safetensors file with the metadata of an update
	Mismatch       Reason = "header_mismatch"   // header and content name different rounds or agents
	WrongShape     Reason = "wrong_shape"       // vectors do not fit the job's layout
	UnusableNumber Reason = "unusable_number"   // NaN, infinite, or a weight that is not positive
	UnknownJob     Reason = "unknown_job"       // no such job
	UnknownRound   Reason = "unknown_round"     // a round or attempt that was never announced
	WrongBase      Reason = "wrong_base"        // learned from another global model
	NotInRound     Reason = "not_in_round"      // the round was not announced to this gateway
	Contradiction  Reason = "contradiction"     // another update of the same gateway is held already
	UnknownModel   Reason = "unknown_model"     // no such global model, or no longer
	Malformed      Reason = "malformed"         // the protocol was not kept
	Busy           Reason = "busy"              // a limit is reached; worth another try
	TooSlow        Reason = "too_slow"          // the gateway did not read what it was sent
	Replaced       Reason = "replaced"          // a newer session of the same gateway took over
	Stopping       Reason = "stopping"          // the coordinator is going down
	StoreFailed    Reason = "store_failed"      // the store would not take it; worth another try
	Forbidden      Reason = "permission_denied" // the gateway is not enrolled any more
)

var reasonCodes = map[Reason]codes.Code{
	TooLarge:       codes.OutOfRange,
	Damaged:        codes.DataLoss,
	Unreadable:     codes.InvalidArgument,
	Mismatch:       codes.InvalidArgument,
	WrongShape:     codes.InvalidArgument,
	UnusableNumber: codes.InvalidArgument,
	UnknownJob:     codes.NotFound,
	UnknownRound:   codes.FailedPrecondition,
	WrongBase:      codes.FailedPrecondition,
	NotInRound:     codes.FailedPrecondition,
	Contradiction:  codes.FailedPrecondition,
	UnknownModel:   codes.NotFound,
	Malformed:      codes.InvalidArgument,
	Busy:           codes.ResourceExhausted,
	TooSlow:        codes.ResourceExhausted,
	Replaced:       codes.Aborted,
	Stopping:       codes.Unavailable,
	StoreFailed:    codes.Unavailable,
	Forbidden:      codes.PermissionDenied,
}

// Refusal is the error an agent is told: what is wrong, where, and the mend.
type Refusal struct {
	Reason Reason
	Err    error
}

// Refuse makes a Refusal.
func Refuse(reason Reason, err error) *Refusal { return &Refusal{Reason: reason, Err: err} }

func (r *Refusal) Error() string { return r.Err.Error() }

func (r *Refusal) Unwrap() error { return r.Err }

// GRPCStatus is how the wire shows r.
func (r *Refusal) GRPCStatus() *status.Status {
	code, ok := reasonCodes[r.Reason]
	if !ok {
		code = codes.Internal
	}
	return status.New(code, r.Error())
}
