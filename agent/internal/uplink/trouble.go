package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// trouble is one way in which the line to the coordinator fails, with what a
// person can do about it.
type trouble struct {
	what string // constant
	mend string
	// certificate says that the gateway's certificate will not be accepted:
	// only a new enrolment helps.
	certificate bool
}

var (
	unreachable   = trouble{what: "cannot reach the coordinator", mend: "check coordinator.address, the network and whether the coordinator runs; the agent works on alone and keeps trying"}
	notOurs       = trouble{what: "coordinator address answers with another protocol", mend: "check host and port of coordinator.address; it is the coordinator's gRPC address, by default port 7443, not its web page"}
	badToken      = trouble{what: "enrolment token cannot be used", mend: "put a token from `millwright-coordinator token create` into coordinator.token_file or coordinator.token"}
	refusedToken  = trouble{what: "coordinator refuses the enrolment token", mend: "a token is wrong, used up or expired: make a new one with `millwright-coordinator token create` and put it into coordinator.token_file or coordinator.token"}
	refusedName   = trouble{what: "coordinator refuses to enrol a gateway of this name", mend: "choose another gateway name, or make a token for this name with `millwright-coordinator token create` if this box takes the other one's place"}
	pinMismatch   = trouble{what: "coordinator is not the one that made the enrolment token", mend: "check coordinator.address, or make a token at the coordinator that is there; nothing was sent to it"}
	foreignCA     = trouble{what: "coordinator's certificate is not issued by the CA this gateway enrolled with", mend: "check coordinator.address; if the coordinator was set up anew, put a new token into coordinator.token_file or coordinator.token", certificate: true}
	wrongHost     = trouble{what: "coordinator's certificate is not valid for its address", mend: "use a name or address the certificate holds, or add this one to the coordinator's configuration"}
	clockBehind   = trouble{what: "coordinator's certificate is not valid yet by this gateway's clock", mend: "set the clock, for example by NTP; a gateway without a battery-backed clock starts in the past"}
	clockAhead    = trouble{what: "coordinator's certificate has expired by this gateway's clock", mend: "check the clock; if it is right, the coordinator must renew its certificate"}
	refusedCert   = trouble{what: "coordinator refuses this gateway's certificate", mend: "it is expired, revoked or of another CA: make a token with `millwright-coordinator token create` and put it into coordinator.token_file or coordinator.token", certificate: true}
	replaced      = trouble{what: "another session of this gateway's name took over", mend: "if two boxes have the same gateway name, enrol one of them under another"}
	incompatible  = trouble{what: "coordinator does not know this agent's protocol", mend: "check coordinator.address and bring agent and coordinator to the same version"}
	badAnswer     = trouble{what: "coordinator's answer to the enrolment cannot be used", mend: "check the coordinator's log"}
	localFailure  = trouble{what: "cannot use the data directory for the coordinator's sake", mend: "check that data_dir exists, is writable and has space"}
	sessionFailed = trouble{what: "session with the coordinator ended", mend: "the agent connects again by itself"}
)

// problem is an error whose trouble is known where it happens.
type problem struct {
	trouble
	err error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// diagnose finds what is behind err. seen is what happened on the connection
// itself, which gRPC's error only tells as text; now is the gateway's clock.
func diagnose(err, seen error, now time.Time) trouble {
	var known *problem
	if errors.As(err, &known) {
		return known.trouble
	}
	if seen != nil {
		if t, ok := diagnoseTLS(seen, now); ok {
			return t
		}
	}
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return refusedCert
	case codes.Aborted:
		return replaced
	case codes.Unimplemented:
		return incompatible
	case codes.Unavailable, codes.DeadlineExceeded:
		return unreachable
	}
	return sessionFailed
}

func diagnoseTLS(err error, now time.Time) (trouble, bool) {
	var (
		pin     *fedrpc.PinError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		alert   *alertError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &pin):
		return pinMismatch, true
	case errors.As(err, &unknown):
		return foreignCA, true
	case errors.As(err, &host):
		return wrongHost, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if now.Before(invalid.Cert.NotBefore) {
			return clockBehind, true
		}
		return clockAhead, true
	case errors.As(err, &record):
		return notOurs, true
	case errors.As(err, &alert):
		return refusedCert, true
	case errors.As(err, &op) && op.Op == "remote error": // an alert during the handshake
		return notOurs, true
	}
	return trouble{}, false
}

// diary writes each kind of trouble into the log at most once a minute.
type diary struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]time.Time
}

const repeatAfter = time.Minute

func newDiary(log *slog.Logger) *diary { return &diary{log: log, last: map[string]time.Time{}} }

// due says whether something of this kind may be written now.
func (d *diary) due(kind string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if last, ok := d.last[kind]; ok && now.Sub(last) < repeatAfter {
		return false
	}
	d.last[kind] = now
	return true
}

func (d *diary) trouble(t trouble, address string, err error, retry time.Duration) {
	if !d.due(t.what) {
		return
	}
	level := slog.LevelWarn
	if t.certificate {
		level = slog.LevelError
	}
	d.log.Log(context.Background(), level, "no session with the coordinator", "trouble", t.what, "coordinator", address, "error", err, "mend", t.mend, "retry_in", retry.Round(time.Millisecond))
}
