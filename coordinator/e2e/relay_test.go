package e2e

import (
	"net"
	"sync"
	"testing"
)

// relay forwards connections to a coordinator whose address may change. It can
// hold back what a client sends, cut connections after so many bytes, keep
// the coordinator's end of one open after the client is gone, and swallow all that is
// sent without a word, as a network does whose router forgot about a connection.
type relay struct {
	t    *testing.T
	l    net.Listener
	work sync.WaitGroup

	mu     sync.Mutex
	target string
	gate   chan struct{} // closed while bytes towards the coordinator may pass
	open   map[net.Conn]struct{}
	limits []int // bytes after which the next connections are cut; none left: never
	cuts   int   // connections that were
	silent bool  // new connections are swallowed
	// swallowed is closed, for all connections that were open then, by swallow.
	swallowed chan struct{}
	ends      chan struct{} // closed at the end of the test
	// lost is closed when the coordinator may learn that clients are gone.
	lost chan struct{}
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{
		t: t, l: l, gate: make(chan struct{}), lost: make(chan struct{}), open: map[net.Conn]struct{}{},
		swallowed: make(chan struct{}), ends: make(chan struct{}),
	}
	close(r.gate)
	close(r.lost)
	r.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.forward(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.release()
		r.tell()
		close(r.ends)
		r.mu.Lock()
		for c := range r.open {
			c.Close()
		}
		r.mu.Unlock()
		r.work.Wait()
	})
	return r
}

func (r *relay) address() string { return r.l.Addr().String() }

func (r *relay) to(target string) { r.mu.Lock(); r.target = target; r.mu.Unlock() }

// hold lets nothing more pass towards the coordinator until release.
func (r *relay) hold() { r.mu.Lock(); r.gate = make(chan struct{}); r.mu.Unlock() }

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	reopen(r.gate)
}

// keep leaves the coordinator in the belief that clients are there until tell.
func (r *relay) keep() { r.mu.Lock(); r.lost = make(chan struct{}); r.mu.Unlock() }

func (r *relay) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	reopen(r.lost)
}

// swallow makes every open connection a dead one for ever, of which neither end is
// told, and new ones too, until restore.
func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.swallowed)
	r.swallowed, r.silent = make(chan struct{}), true
}

func (r *relay) restore() { r.mu.Lock(); r.silent = false; r.mu.Unlock() }

func reopen(gate chan struct{}) {
	select {
	case <-gate:
	default:
		close(gate)
	}
}

// cutAfter cuts the next connections, one each, after so many bytes.
func (r *relay) cutAfter(limits ...int) { r.mu.Lock(); r.limits = limits; r.mu.Unlock() }

func (r *relay) cutSoFar() int { r.mu.Lock(); defer r.mu.Unlock(); return r.cuts }

func (r *relay) passage() <-chan struct{} { r.mu.Lock(); defer r.mu.Unlock(); return r.gate }

func (r *relay) farewell() <-chan struct{} { r.mu.Lock(); defer r.mu.Unlock(); return r.lost }

// allowance counts the bytes of a connection that is to be cut; a nil one never is.
type allowance struct {
	mu   sync.Mutex
	left int
}

// take says whether so many more bytes may pass.
func (a *allowance) take(n int) bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left -= n
	return a.left >= 0
}

func (r *relay) forward(client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	target, dead := r.target, r.swallowed
	if r.silent {
		r.mu.Unlock()
		<-r.ends
		return
	}
	var allowed *allowance
	if len(r.limits) > 0 {
		allowed = &allowance{left: r.limits[0]}
		r.limits = r.limits[1:]
	}
	r.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return // the coordinator is away; the agent will come again
	}
	defer server.Close()
	r.mu.Lock()
	r.open[client], r.open[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, client)
		delete(r.open, server)
	}()
	r.work.Go(func() {
		defer client.Close()
		defer server.Close()
		r.copy(server, client, allowed, dead, func() { <-r.passage() })
		<-r.farewell()
	})
	r.copy(client, server, allowed, dead, func() {}) // ends with either connection
}

// copy forwards until a connection ends or the allowance is used up; wait is
// called before each write. From when dead is closed it only waits for the end of the test.
func (r *relay) copy(to, from net.Conn, allowed *allowance, dead chan struct{}, wait func()) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-dead:
			<-r.ends
			return
		default:
		}
		if err != nil {
			return
		}
		wait()
		if !allowed.take(n) {
			r.mu.Lock()
			r.cuts++
			r.mu.Unlock()
			to.Close()
			from.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
