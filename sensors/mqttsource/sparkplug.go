package mqttsource

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

const sparkplugNamespace = "spBv1.0/"

// checkSparkplugTopic reports a topic that does not name an edge node or device.
func checkSparkplugTopic(filter string) error {
	levels := strings.Split(filter, "/")
	if len(levels) < 4 || len(levels) > 5 || levels[0]+"/" != sparkplugNamespace || levels[2] != "+" || strings.Contains(filter, "#") {
		return fmt.Errorf("topic %q names no Sparkplug device; write spBv1.0/<group>/+/<edge node> or spBv1.0/<group>/+/<edge node>/<device>", filter)
	}
	return nil
}

// sparkplugFilter takes in all messages of the topic's edge node: their sequence
// numbers count through all of its devices.
func sparkplugFilter(filter string) string {
	return strings.Join(strings.Split(filter, "/")[:4], "/") + "/#"
}

// canonical replaces the message type of a Sparkplug topic by +, as in the topic
// of a Channel; "" for another topic.
func canonical(topic string) string {
	if !strings.HasPrefix(topic, sparkplugNamespace) {
		return ""
	}
	l := strings.Split(topic, "/")
	if len(l) < 4 || len(l) > 5 {
		return ""
	}
	l[2] = "+"
	return strings.Join(l, "/")
}

// sparkplugEdge returns group/node of a Sparkplug topic, "" for another one.
func sparkplugEdge(topic string) string {
	if canonical(topic) == "" {
		return ""
	}
	l := strings.Split(topic, "/")
	return l[1] + "/" + l[3]
}

// edgeNode is the session of a Sparkplug edge node (Eclipse Sparkplug 3.0.0,
// chapters 4 and 5).
type edgeNode struct {
	conn     *conn // it was last heard on
	born     bool  // aliases are known and nothing was missed since
	seq      uint64
	hasSeq   bool
	bdSeq    uint64
	hasBdSeq bool
	asked    time.Time       // for a rebirth
	routes   map[*route]bool // its own and its devices'
}

const (
	// maxEdgeNodes bounds the nodes remembered under a wildcard.
	maxEdgeNodes = 1024
	// rebirthPause is the least time between two requests to a node.
	rebirthPause = 30 * time.Second
)

var errSequence = errors.New("sequence number of the edge node jumped; a rebirth is asked for")

// sparkplugMessage follows the session of the message's edge node and emits what
// it says of channels. Messages of no interest are noted.
func (s *Source) sparkplugMessage(it *item, emit func(sensors.Block) error) error {
	levels := strings.Split(it.topic, "/")
	if it.retained || len(levels) < 4 {
		s.outcome.noted = true // no Sparkplug message but STATE is retained
		return nil
	}
	n := s.edgeNode(it, levels[1]+"/"+levels[3])
	if it.route != nil && it.route.decoder != nil {
		n.routes[it.route] = true
	}
	switch kind := levels[2]; kind {
	case "NBIRTH", "DBIRTH", "NDATA", "DDATA":
		return s.edgeSession(it, n, levels, emit)
	case "NDEATH", "DDEATH":
		s.edgeDeath(it, n, kind == "NDEATH", levels[1]+"/"+levels[3])
	}
	s.outcome.noted = s.outcome.reason == ""
	return nil
}

// edgeNode returns what is known of a node; nothing after messages were missed.
func (s *Source) edgeNode(it *item, name string) *edgeNode {
	n := s.nodes[name]
	if n == nil {
		if len(s.nodes) >= maxEdgeNodes {
			clear(s.nodes) // each is asked for a rebirth when it is heard again
		}
		n = &edgeNode{conn: it.conn, routes: map[*route]bool{}}
		s.nodes[name] = n
	}
	if n.conn != it.conn {
		if n.conn = it.conn; !it.conn.resumed.Load() {
			n.forget()
		}
	}
	return n
}

// forget makes the node one that must be born again before its aliases count.
func (n *edgeNode) forget() {
	n.born, n.hasSeq = false, false
	for rt := range n.routes {
		rt.decoder.Death()
		gapAfter(rt.feeds)
	}
}

// edgeSession takes a birth or data.
func (s *Source) edgeSession(it *item, n *edgeNode, levels []string, emit func(sensors.Block) error) error {
	kind := levels[2]
	head, err := decode.ReadSparkplugHead(it.payload, kind == "NBIRTH")
	if err != nil {
		s.outcome.drop(Malformed, 0)
		s.complain.dropped(Malformed, it.topic, nil, err)
		return nil
	}
	next := n.hasSeq && (n.seq+1)&0xff == head.Seq
	missed := n.hasSeq && head.HasSeq && !next
	if kind == "NBIRTH" {
		n.forget()
		n.born, n.bdSeq, n.hasBdSeq, n.asked = true, head.BdSeq, head.HasBdSeq, time.Time{}
	} else if missed {
		n.forget()
		s.complain.missed(it.topic, errSequence)
	}
	n.seq, n.hasSeq = head.Seq&0xff, head.HasSeq
	if !n.born {
		s.askRebirth(it, n, levels)
	}
	rt := it.route
	if rt == nil || rt.decoder == nil {
		s.outcome.noted = true
		return nil
	}
	if strings.HasSuffix(kind, "BIRTH") {
		if err := rt.decoder.Birth(it.payload); err == nil {
			s.devices.born(rt.device)
		}
	}
	return s.decode(it, emit)
}

// edgeDeath makes a node and its devices, or one device, stale.
func (s *Source) edgeDeath(it *item, n *edgeNode, node bool, name string) {
	devices := s.devices.ofEdge(name)
	if !node {
		if it.route == nil || it.route.decoder == nil {
			return
		}
		it.route.decoder.Death()
		devices = []*device{it.route.device}
		if head, err := decode.ReadSparkplugHead(it.payload, false); err == nil && head.HasSeq {
			n.seq = head.Seq & 0xff // a DDEATH counts too
		}
	} else {
		head, err := decode.ReadSparkplugHead(it.payload, true)
		if err != nil {
			s.outcome.drop(Malformed, 0)
			s.complain.dropped(Malformed, it.topic, nil, err)
			return
		}
		if n.born && n.hasBdSeq && head.HasBdSeq && n.bdSeq != head.BdSeq {
			return // the will of an earlier session, delivered after the new birth
		}
		n.forget()
	}
	for _, d := range devices {
		s.stale(it, d)
	}
}

// askRebirth asks a node to be born again, not more often than rebirthPause.
func (s *Source) askRebirth(it *item, n *edgeNode, levels []string) {
	if !n.asked.IsZero() && it.arrived.Sub(n.asked) < rebirthPause {
		return
	}
	n.asked = it.arrived
	it.conn.publish(sparkplugNamespace+levels[1]+"/NCMD/"+levels[3], decode.SparkplugRebirth(time.Now()))
}

// publish sends a message at QoS 0, as Sparkplug wants commands. Like ack it never waits.
func (c *conn) publish(topic string, payload []byte) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = topic, payload
	var b bytes.Buffer
	if p.Write(&b) == nil {
		_, _ = c.Write(b.Bytes())
	}
}
