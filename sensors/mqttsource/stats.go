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
	Late      Reason = "late"       // older than what its channel already emitted, as after a redelivery
	Stopped   Reason = "stopped"    // still queued when Run ended

	Malformed Reason = Reason(decode.Malformed)
	Absent    Reason = Reason(decode.Absent)
	NotNumber Reason = Reason(decode.NotNumber)
	NotFinite Reason = Reason(decode.NotFinite)
)

// Stats counts since New. At every instant
//
//	Received = Emitted + Σ Dropped + Queued
//
// of messages, and likewise of samples, where Queued does not exist: samples
// are counted when a message is decoded. A message counts as emitted when at
// least one channel got a block from it, else under the reason of its first
// channel.
type Stats struct {
	Received int64
	Emitted  int64
	Queued   int64
	Dropped  map[Reason]int64 // every reason seen so far

	SamplesReceived int64
	SamplesEmitted  int64
	SamplesDropped  map[Reason]int64

	QueuedBytes   int64 // payloads waiting, with overhead
	ReceivedBytes int64 // payload bytes received, dropped ones included
	Connections   int64 // times a connection was made and subscribed
	Connected     bool
}
