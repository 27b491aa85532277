package mqttsource

import "github.com/millwright-iot/millwright/sensors/mqttsource/decode"

// Reason is why a message or samples did not become blocks. It is also the
// value of the label "reason" where these counts become metrics.
type Reason string

// The reasons to drop. The first ones are about whole messages only.
const (
	QueueFull Reason = "queue_full" // arrived faster than emitted: raise the queue's bounds or send less
	TooLarge  Reason = "too_large"  // payload over MaxPayloadBytes
	NoChannel Reason = "no_channel" // no channel has this topic: an old subscription of a persistent session
	TooMany   Reason = "too_many"   // a discovery beyond MaxDiscovered
	Conflict  Reason = "conflict"   // a discovery under a name that another topic feeds
	Duplicate Reason = "duplicate"  // a redelivery of what was emitted, or a part that came twice
	Retained  Reason = "retained"   // from the broker's memory, without a time or too old to be news
	WrongUnit Reason = "wrong_unit" // the payload names another unit than the channel
	Late      Reason = "late"       // older than what its channel already emitted, as after a redelivery
	// Incomplete samples belong to a burst of which parts are missing.
	Incomplete Reason = "incomplete"
	Stopped    Reason = "stopped" // still queued or unfinished when Run ended

	Malformed Reason = Reason(decode.Malformed)
	Absent    Reason = Reason(decode.Absent)
	NotNumber Reason = Reason(decode.NotNumber)
	NotFinite Reason = Reason(decode.NotFinite)

	Implausible Reason = Reason(decode.Implausible)
	NoBirth     Reason = Reason(decode.NoBirth)
)

// Stats counts since New. At every instant
//
//	Received = Emitted + Noted + Σ Dropped + Queued
//
// of messages, and of samples, which are counted when a message is decoded,
//
//	SamplesReceived = SamplesEmitted + Σ SamplesDropped + SamplesHeld
//
// A message counts as emitted when at least one channel got a block from it or
// keeps it as a part of a burst, else under the reason of its first channel.
type Stats struct {
	Received int64
	Emitted  int64
	Noted    int64 // told of a device's state or session, not of a channel
	Queued   int64
	Dropped  map[Reason]int64 // every reason seen so far

	SamplesReceived int64
	SamplesEmitted  int64
	SamplesDropped  map[Reason]int64
	SamplesHeld     int64 // parts of unfinished bursts

	QueuedBytes   int64 // payloads waiting, with overhead
	ReceivedBytes int64 // payload bytes received, dropped ones included
	Connections   int64 // times a connection was made and subscribed
	Connected     bool
}
