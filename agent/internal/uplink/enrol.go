package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

const callTimeout = 30 * time.Second

// enrolment is what the connecting loop remembers of its last attempt.
type enrolment struct {
	refused bool // the coordinator does not accept the certificate we have, or we do not accept its
	tried   bool // the last attempt was to enrol anew
}

// identity returns who we are to the coordinator, enrolling if need be. With a
// certificate that is expired or refused it tries a token, if there is one, and
// the certificate again after that in turns: either may come right by itself.
func (u *Uplink) identity(ctx context.Context, e *enrolment) (*identity, *observer, error) {
	id, err := loadIdentity(u.dir, u.cfg.Gateway)
	if errors.Is(err, fs.ErrNotExist) {
		token, err := u.token()
		if err != nil {
			return nil, &observer{}, &problem{badToken, err}
		}
		return u.enrol(ctx, token, nil)
	}
	if err != nil {
		token, noToken := u.token()
		if noToken != nil {
			return nil, &observer{}, &problem{localFailure, err}
		}
		return u.enrol(ctx, token, nil)
	}
	u.shown.change(func(s *State) { s.Enrolled, s.CertificateExpires = true, id.cert.NotAfter })
	expired := time.Now().After(id.cert.NotAfter)
	if !e.refused && !expired || e.tried {
		e.tried = false
		return id, nil, nil
	}
	// A token that was used to enrol is only worth another try for the same key.
	if token, err := u.token(); err == nil && (expired || token.ID != id.tokenID) {
		e.tried = true
		return u.enrol(ctx, token, id.key)
	}
	return id, nil, nil
}

var errNoToken = errors.New("gateway has not enrolled yet and has no token")

// token returns the token to enrol with.
func (u *Uplink) token() (fedrpc.Token, error) {
	text := u.cfg.Token
	if u.cfg.TokenFile != "" {
		data, err := os.ReadFile(u.cfg.TokenFile)
		if err != nil {
			return fedrpc.Token{}, fmt.Errorf("read enrolment token: %w", err)
		}
		if text = strings.TrimSpace(string(data)); text == "-" { // the service's word for no token
			return fedrpc.Token{}, errNoToken
		}
		if t, err := fedrpc.ParseToken(text); err != nil {
			return t, fmt.Errorf("read enrolment token from %q: %w", u.cfg.TokenFile, err)
		}
	}
	if text == "" {
		return fedrpc.Token{}, errNoToken
	}
	return fedrpc.ParseToken(text)
}

// enrol exchanges a token for a certificate of key, nil being a new one, and
// stores it.
func (u *Uplink) enrol(ctx context.Context, token fedrpc.Token, key *ecdsa.PrivateKey) (*identity, *observer, error) {
	none := &observer{}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return nil, none, &problem{localFailure, err}
	}
	if key == nil {
		var err error
		if key, err = pendingKey(u.dir); err != nil {
			return nil, none, &problem{localFailure, err}
		}
	}
	csr, err := certificateRequest(key, u.cfg.Gateway)
	if err != nil {
		return nil, none, fmt.Errorf("make certificate request: %w", err)
	}
	conn, seen, err := dial(u.cfg.Address, fedrpc.EnrolmentTLS(u.host, token.CASHA256))
	if err != nil {
		return nil, seen, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := fedpb.NewEnrolmentClient(conn).Enrol(ctx, &fedpb.EnrolRequest{
		TokenId: token.ID, TokenSecret: token.Secret, CertificateRequestDer: csr,
	})
	switch status.Code(err) {
	case codes.OK:
	case codes.PermissionDenied, codes.Unauthenticated:
		return nil, seen, &problem{refusedToken, fmt.Errorf("token %s: %w", token.ID, err)}
	case codes.AlreadyExists:
		return nil, seen, &problem{refusedName, fmt.Errorf("gateway %q: %w", u.cfg.Gateway, err)}
	default:
		return nil, seen, fmt.Errorf("enrol: %w", err)
	}
	if sha256.Sum256(answer.GetCaCertificateDer()) != token.CASHA256 {
		return nil, seen, &problem{badAnswer, errors.New("CA certificate in the answer is not the one the token names")}
	}
	id, err := u.keep(key, answer, token.ID)
	if err != nil {
		return nil, seen, err
	}
	u.log.Info("enrolled at the coordinator", "coordinator", u.cfg.Address, "gateway", u.cfg.Gateway, "token", token, "certificate_expires", id.cert.NotAfter)
	return id, seen, nil
}

// keep stores the certificate that the coordinator answered with.
func (u *Uplink) keep(key *ecdsa.PrivateKey, answer *fedpb.EnrolResponse, tokenID string) (*identity, error) {
	id, err := newIdentity(key, answer.GetCertificateDer(), answer.GetCaCertificateDer(), u.cfg.Gateway, tokenID)
	if err != nil {
		return nil, &problem{badAnswer, err}
	}
	if err := id.save(u.dir); err != nil {
		return nil, &problem{localFailure, err}
	}
	if err := os.Remove(filepath.Join(u.dir, keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &problem{localFailure, err}
	}
	u.shown.change(func(s *State) { s.Enrolled, s.CertificateExpires = true, id.cert.NotAfter })
	return id, nil
}

func (u *Uplink) dialAs(id *identity) (*grpc.ClientConn, *observer, error) {
	return dial(u.cfg.Address, fedrpc.AgentTLS(u.host, id.tls(), id.ca))
}

// renew waits until the certificate is due, by the coordinator's clock, and
// renews it. It reports whether there is a new one; failures are tried again
// until ctx ends, since a third of the certificate's life is left.
func (u *Uplink) renew(ctx context.Context, id *identity, client fedpb.EnrolmentClient, offset time.Duration) bool {
	for {
		// The clock may be set meanwhile, so do not sleep over a month at once.
		due := time.Until(id.renewAt()) - offset
		if due <= 0 {
			err := u.renewNow(ctx, id, client)
			if err == nil {
				return true
			}
			if ctx.Err() != nil {
				return false
			}
			left := time.Until(id.cert.NotAfter) - offset
			due = min(max(left/20, time.Second), time.Hour)
			if u.diary.due("renew") {
				u.log.Warn("renewal of the gateway's certificate failed", "error", err, "certificate_expires", id.cert.NotAfter, "retry_in", due)
			}
		}
		if !sleep(ctx, min(due, time.Hour)) {
			return false
		}
	}
}

func (u *Uplink) renewNow(ctx context.Context, id *identity, client fedpb.EnrolmentClient) error {
	key, err := pendingKey(u.dir)
	if err != nil {
		return err
	}
	csr, err := certificateRequest(key, u.cfg.Gateway)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := client.Renew(ctx, &fedpb.RenewRequest{CertificateRequestDer: csr})
	if err != nil {
		return err
	}
	if !sameCA(answer.GetCaCertificateDer(), id) {
		return errors.New("renewal came with another CA certificate")
	}
	next, err := u.keep(key, answer, id.tokenID)
	if err != nil {
		return err
	}
	u.log.Info("renewed the gateway's certificate", "certificate_expires", next.cert.NotAfter)
	return nil
}

func sameCA(der []byte, id *identity) bool {
	return sha256.Sum256(der) == sha256.Sum256(id.ca.Raw)
}
