// Package enrol decides who may speak to a coordinator. It keeps the
// coordinator's own certificate authority, hands out enrolment tokens, turns a
// token and a certificate request into a gateway's certificate, renews it, and
// knows which certificates still count.
//
// An operator creates a token and copies it to a gateway. The token names the
// CA by its digest, so the agent trusts exactly this coordinator without any
// file being copied. From then on both sides use mutual TLS.
//
// Who may take which name: a new name needs a token that is not pinned to
// another one. A name that is enrolled already is given to another key only by a
// token pinned to that name or created with Replace, because otherwise any token
// could take over any gateway; the certificates issued before then stop working.
// The same key may always enrol again. An answer that got lost costs nothing:
// the same token with the same key and name is answered again without counting.
//
// In the store it owns the record "ca" and those below "token/" and "agent/".
package enrol

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// What can be wrong with a request; callers branch on these with errors.Is.
var (
	// ErrTokenUnknown: no such token, or its secret is wrong.
	ErrTokenUnknown = errors.New("enrolment token is unknown: copy all of it, or create a new one with `millwright-coordinator token create`")
	// ErrTokenUsed: the token has served as often as it may.
	ErrTokenUsed = errors.New("enrolment token is used up: create a new one with `millwright-coordinator token create`")
	// ErrTokenExpired: the token was not used in time.
	ErrTokenExpired = errors.New("enrolment token has expired: create a new one with `millwright-coordinator token create`")
	// ErrTokenPinned: the token is for a gateway of another name.
	ErrTokenPinned = errors.New("enrolment token is for another gateway")
	// ErrNameTaken: a gateway of that name is enrolled with another key.
	ErrNameTaken = errors.New("a gateway of that name is enrolled already: choose another name, or create a token with --gateway NAME or --replace")
	// ErrRequest: the certificate request, or what was asked for, is not acceptable.
	ErrRequest = errors.New("request is not acceptable")
	// ErrNoCertificate: the connection has no client certificate.
	ErrNoCertificate = errors.New("connection has no client certificate: enrol first")
	// ErrNotEnrolled: no gateway of that name is enrolled; it was removed, or
	// never was.
	ErrNotEnrolled = errors.New("gateway is not enrolled here: enrol it with a new token")
	// ErrSuperseded: the certificate was replaced by a newer one.
	ErrSuperseded = errors.New("certificate was replaced by a newer one: enrol the gateway with a new token")
)

// Options tune an Authority; the zero value is usable.
type Options struct {
	// Hosts are the names and IP addresses in the server's certificate. Default
	// localhost and 127.0.0.1.
	Hosts []string
	// Lifetime of a gateway's certificate. Default 365 days.
	Lifetime time.Duration
	// ServerLifetime is that of the server's certificate, which is renewed while
	// running once a third of it is left. Default 90 days.
	ServerLifetime time.Duration
	// OnRemove is called after a gateway was removed or its certificates were
	// replaced, to end its connections. Default: nothing.
	OnRemove func(gateway string)
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Authority is the certificate authority and the book of gateways. Its methods
// are safe for concurrent use.
type Authority struct {
	st   store.Store
	opts Options
	log  *slog.Logger
	ca   *ca

	// spending is held, by a message in it, while a token is used: gateways that
	// enrol in a crowd wait for their turn instead of failing each other's
	// compare-and-set, over and over.
	spending chan struct{}

	mu     sync.Mutex // guards server
	server *tls.Certificate
}

// Open opens the certificate authority in dir (normally data_dir/ca), creating
// it if neither dir nor the store knows of one. A damaged, incomplete or
// mismatched one is an error naming the file, and is never replaced.
func Open(dir string, st store.Store, opts Options, log *slog.Logger) (*Authority, error) {
	if len(opts.Hosts) == 0 {
		opts.Hosts = []string{"localhost", "127.0.0.1"}
	}
	if opts.Lifetime <= 0 {
		opts.Lifetime = 365 * 24 * time.Hour
	}
	if opts.ServerLifetime <= 0 {
		opts.ServerLifetime = 90 * 24 * time.Hour
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnRemove == nil {
		opts.OnRemove = func(string) {}
	}
	a := &Authority{st: st, opts: opts, log: log, spending: make(chan struct{}, 1)}
	var err error
	if a.ca, err = openCA(context.Background(), dir, st, opts.Now(), log); err != nil {
		return nil, err
	}
	if _, err := a.serverCertificate(); err != nil {
		return nil, err
	}
	return a, nil
}

// CADigest returns the SHA-256 of the CA certificate's DER as lower-case hex, as
// it stands in tokens.
func (a *Authority) CADigest() string { return a.ca.digest }

// CheckGatewayName returns an error wrapping ErrRequest unless name can be a
// gateway's: fedrpc.CheckGatewayName, which agents keep too, and no '.' at the
// end, which no store's key may have.
func CheckGatewayName(name string) error {
	if err := fedrpc.CheckGatewayName(name); err != nil {
		return requestError("%v", err)
	}
	if strings.HasSuffix(name, ".") {
		return requestError("gateway name %q ends with '.': choose one that does not", name)
	}
	return nil
}
