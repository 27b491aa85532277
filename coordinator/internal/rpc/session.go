package rpc

import (
	"fmt"
	"sync"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// session is one gateway's open stream. It implements Peer.
type session struct {
	gateway string
	out     chan *fedpb.FromCoordinator // never closed
	joined  chan struct{}               // closed when the backend took the session in
	done    chan struct{}               // closed when the session has ended

	once sync.Once
	err  error // why it ended; read after done
}

func newSession(gateway string, queue int) *session {
	return &session{
		gateway: gateway,
		out:     make(chan *fedpb.FromCoordinator, queue),
		joined:  make(chan struct{}),
		done:    make(chan struct{}),
	}
}

// Send implements Peer.
func (p *session) Send(m Message) { p.queue(fromMessage(m)) }

func (p *session) queue(m *fedpb.FromCoordinator) {
	select {
	case p.out <- m:
	default:
		p.Close(Refuse(TooSlow, fmt.Errorf("gateway %q reads too slowly: %d messages wait for it; connect again", p.gateway, cap(p.out))))
	}
}

// Close implements Peer.
func (p *session) Close(why *Refusal) { p.end(why) }

// end ends the session with err, or nil when it ended as it should.
func (p *session) end(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.done)
	})
}

func (p *session) reason() error { return p.err }
