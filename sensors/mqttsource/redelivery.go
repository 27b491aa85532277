package mqttsource

import "hash/maphash"

// redeliveries knows the messages that were acknowledged lately. A broker that
// keeps our session sends a message again, under the same packet identifier and
// marked as duplicate, when the acknowledgement was lost with the connection
// (MQTT 3.1.1, section 4.4).
type redeliveries struct {
	seed maphash.Seed
	// Brokers count identifiers up, so that those under way do not share a place.
	last [1024]struct {
		conn uint64 // number of the connection it came over; 0 for none
		hash uint64
		id   uint16
	}
}

func newRedeliveries() *redeliveries { return &redeliveries{seed: maphash.MakeSeed()} }

// hash tells messages apart by topic, size and beginning.
func (r *redeliveries) hash(it *item) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(it.topic)
	_, _ = h.Write(it.payload[:min(len(it.payload), 4096)])
	return h.Sum64() + uint64(len(it.payload))
}

// again reports whether it was acknowledged before, over another connection.
func (r *redeliveries) again(it *item) bool {
	e := &r.last[int(it.id)%len(r.last)]
	return it.duplicate && it.id != 0 && e.conn != 0 && e.conn != it.conn.number && e.id == it.id && e.hash == r.hash(it)
}

// acknowledged notes a message.
func (r *redeliveries) acknowledged(it *item) {
	e := &r.last[int(it.id)%len(r.last)]
	e.conn, e.id, e.hash = it.conn.number, it.id, r.hash(it)
}
