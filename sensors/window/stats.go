package window

// Stats counts what a Windower did since it was made. At any time
//
//	Received = Used + Pending + Dropped.Total()
//
// in samples, and every window whose time has passed is either in Emitted or in
// Skipped.
type Stats struct {
	Received int64 // samples given to Add
	Used     int64 // samples that were in at least one emitted window
	Pending  int64 // samples that wait for their window to close
	Dropped  Dropped

	Emitted int64 // windows given to emit
	// Skipped counts windows that were not emitted because a channel had no sample
	// or was silent for too long; Channels says which.
	Skipped  int64
	Resets   int64 // times the clock of the blocks jumped and all pending samples were dropped
	Channels []ChannelStats
}

// Dropped counts the samples that reached no window, by reason.
type Dropped struct {
	Invalid        int64 // the block was not valid, of another machine, or longer than any window
	UnknownChannel int64 // the channel is not in Spec.Channels
	Late           int64 // every window they belong to had closed
	Duplicate      int64 // a block of the same channel and start was waiting already
	Overlap        int64 // another block had already covered their time
	Clock          int64 // their time was implausibly far from that of the samples before
	Overflow       int64 // the channel already had Spec.MaxPending samples waiting
	Incomplete     int64 // no window they belong to had every channel without too long a silence
	Reset          int64 // they waited when the clock jumped
}

// Total returns the sum over all reasons.
func (d Dropped) Total() int64 {
	return d.Invalid + d.UnknownChannel + d.Late + d.Duplicate + d.Overlap + d.Clock + d.Overflow + d.Incomplete + d.Reset
}

// Each calls yield with every reason in snake_case and its count, always in the
// same order, for metrics and logs.
func (d Dropped) Each(yield func(reason string, samples int64)) {
	yield("invalid", d.Invalid)
	yield("unknown_channel", d.UnknownChannel)
	yield("late", d.Late)
	yield("duplicate", d.Duplicate)
	yield("overlap", d.Overlap)
	yield("clock", d.Clock)
	yield("overflow", d.Overflow)
	yield("incomplete", d.Incomplete)
	yield("reset", d.Reset)
}

// ChannelStats says how often one channel was the reason that a window was skipped.
// A window can be skipped because of several channels.
type ChannelStats struct {
	Channel string
	Missing int64 // windows in which it had no sample
	Gaps    int64 // windows in which it was silent for longer than Spec.MaxGap
}
