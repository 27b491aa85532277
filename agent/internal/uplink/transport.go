package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// observer remembers the last error of a connection's TLS with its type. gRPC
// hands on only its text, and some errors say what to mend.
type observer struct {
	mu  sync.Mutex
	err error
}

func (o *observer) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *observer) seen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// dial prepares a connection; the first call on it connects.
func dial(address string, cfg *tls.Config) (*grpc.ClientConn, *observer, error) {
	seen := &observer{}
	creds := &observedTLS{TransportCredentials: credentials.NewTLS(cfg), seen: seen}
	conn, err := grpc.NewClient("dns:///"+address, append(fedrpc.ClientOptions(), grpc.WithTransportCredentials(creds))...)
	return conn, seen, err
}

type observedTLS struct {
	credentials.TransportCredentials
	seen *observer
}

func (c *observedTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.seen.note(err)
		return nil, nil, err
	}
	return &observedConn{Conn: conn, seen: c.seen}, info, nil
}

func (c *observedTLS) Clone() credentials.TransportCredentials {
	return &observedTLS{TransportCredentials: c.TransportCredentials.Clone(), seen: c.seen}
}

// observedConn sees the alert of a server that refuses the client's certificate:
// in TLS 1.3 it comes after the handshake, with the first read.
type observedConn struct {
	net.Conn
	seen *observer
}

func (c *observedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		c.seen.note(&alertError{op})
	}
	return n, err
}

// alertError is a TLS alert that came after the handshake.
type alertError struct{ error }

func (e *alertError) Unwrap() error { return e.error }
