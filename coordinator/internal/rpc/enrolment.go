package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Authority knows who may speak; see enrol.Authority.
type Authority interface {
	Enrol(ctx context.Context, tokenID, secret string, csrDER []byte) (enrol.Issued, error)
	Renew(ctx context.Context, conn tls.ConnectionState, csrDER []byte) (enrol.Issued, error)
	// Authenticate returns the gateway at the other end, if its certificate
	// still counts.
	Authenticate(ctx context.Context, conn tls.ConnectionState) (string, error)
}

// Enrolment serves the Enrolment service over an Authority.
type Enrolment struct {
	fedpb.UnimplementedEnrolmentServer

	authority Authority
	log       *slog.Logger
}

// NewEnrolment makes an Enrolment.
func NewEnrolment(a Authority, log *slog.Logger) *Enrolment {
	return &Enrolment{authority: a, log: log}
}

// Enrol implements fedpb.EnrolmentServer.
func (e *Enrolment) Enrol(ctx context.Context, req *fedpb.EnrolRequest) (*fedpb.EnrolResponse, error) {
	issued, err := e.authority.Enrol(ctx, req.GetTokenId(), req.GetTokenSecret(), req.GetCertificateRequestDer())
	return e.answer(ctx, issued, err)
}

// Renew implements fedpb.EnrolmentServer.
func (e *Enrolment) Renew(ctx context.Context, req *fedpb.RenewRequest) (*fedpb.EnrolResponse, error) {
	conn, err := connection(ctx)
	if err != nil {
		return nil, err
	}
	issued, err := e.authority.Renew(ctx, conn, req.GetCertificateRequestDer())
	return e.answer(ctx, issued, err)
}

func (e *Enrolment) answer(ctx context.Context, issued enrol.Issued, err error) (*fedpb.EnrolResponse, error) {
	if err == nil {
		return &fedpb.EnrolResponse{CertificateDer: issued.CertificateDER, CaCertificateDer: issued.CADER}, nil
	}
	from := "unknown"
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	code := enrolmentCode(err)
	if code == codes.Unavailable {
		e.log.Error("cannot enrol", "from", from, "error", err)
		return nil, status.Error(code, "coordinator cannot enrol at the moment; try again later")
	}
	e.log.Warn("refused enrolment", "from", from, "error", err)
	return nil, status.Error(code, err.Error())
}

// enrolmentCode is the wire's word for an error of package enrol; Unavailable is
// for trouble of the coordinator's own.
func enrolmentCode(err error) codes.Code {
	for _, known := range []struct {
		err  error
		code codes.Code
	}{
		{enrol.ErrRequest, codes.InvalidArgument},
		{enrol.ErrNameTaken, codes.AlreadyExists},
		{enrol.ErrNoCertificate, codes.Unauthenticated},
		{enrol.ErrTokenUnknown, codes.PermissionDenied},
		{enrol.ErrTokenUsed, codes.PermissionDenied},
		{enrol.ErrTokenExpired, codes.PermissionDenied},
		{enrol.ErrTokenPinned, codes.PermissionDenied},
		{enrol.ErrNotEnrolled, codes.PermissionDenied},
		{enrol.ErrSuperseded, codes.PermissionDenied},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return codes.Unavailable
}

// identify returns who calls, or a status error: a verified certificate is
// needed, and it must still count.
func identify(ctx context.Context, a Authority) (Identity, error) {
	name, cert, err := fedrpc.PeerName(ctx)
	if err != nil {
		return Identity{}, err
	}
	conn, err := connection(ctx)
	if err != nil {
		return Identity{}, err
	}
	if _, err := a.Authenticate(ctx, conn); err != nil {
		if code := enrolmentCode(err); code != codes.Unavailable {
			return Identity{}, status.Error(code, err.Error())
		}
		return Identity{}, status.Error(codes.Unavailable, "coordinator cannot look up the gateway at the moment; try again later")
	}
	return Identity{Gateway: name, CertExpires: cert.NotAfter}, nil
}

func connection(ctx context.Context) (tls.ConnectionState, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			return info.State, nil
		}
	}
	return tls.ConnectionState{}, status.Error(codes.Unauthenticated, "call has no TLS connection")
}
