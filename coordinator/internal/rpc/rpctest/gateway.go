// Package rpctest is a gateway for tests of the coordinator: it speaks the real
// wire over real mutual TLS, and does exactly what it is told.
package rpctest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Gateway is an enrolled gateway.
type Gateway struct {
	Name string
	conn *grpc.ClientConn
}

// Enrol makes a key, enrols with token at addr under name and connects with the
// certificate received. The caller closes the Gateway.
func Enrol(ctx context.Context, addr, token, name string) (*Gateway, error) {
	t, err := fedrpc.ParseToken(token)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, err
	}
	first, err := dial(addr, fedrpc.EnrolmentTLS(host, t.CASHA256))
	if err != nil {
		return nil, err
	}
	defer first.Close()
	answer, err := fedpb.NewEnrolmentClient(first).Enrol(ctx, &fedpb.EnrolRequest{
		TokenId: t.ID, TokenSecret: t.Secret, CertificateRequestDer: csr})
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(answer.GetCaCertificateDer())
	if err != nil {
		return nil, err
	}
	conn, err := dial(addr, fedrpc.AgentTLS(host, tls.Certificate{Certificate: [][]byte{answer.GetCertificateDer()}, PrivateKey: key}, ca))
	if err != nil {
		return nil, err
	}
	return &Gateway{Name: name, conn: conn}, nil
}

// Stranger connects to addr trusting anyone, with no certificate or, if cert is
// given, with that one.
func Stranger(addr string, cert *tls.Certificate) (*Gateway, error) {
	cfg := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := dial(addr, cfg)
	if err != nil {
		return nil, err
	}
	return &Gateway{Name: "stranger", conn: conn}, nil
}

func dial(addr string, cfg *tls.Config) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr, append(fedrpc.ClientOptions(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))...)
}

// Close drops the connection with everything on it.
func (g *Gateway) Close() error { return g.conn.Close() }

// Upload sends data as the update that header announces; its Blob is filled in
// when it is zero.
func (g *Gateway) Upload(ctx context.Context, h rpc.UploadHeader, data []byte) (rpc.Receipt, error) {
	if h.Blob == (store.Blob{}) {
		sum := sha256.Sum256(data)
		h.Blob = store.Blob{SHA256: hex.EncodeToString(sum[:]), Size: uint64(len(data))}
	}
	stream, err := fedpb.NewFederationClient(g.conn).Upload(ctx)
	if err != nil {
		return rpc.Receipt{}, err
	}
	head := &fedpb.UploadHeader{Job: h.Job, Round: h.Round, Attempt: h.Attempt, Blob: &fedpb.Blob{Sha256: h.Blob.SHA256, Size: h.Blob.Size}}
	err = fedrpc.SendBlob(func(chunk []byte) error {
		m := &fedpb.UploadChunk{Header: head, Data: chunk}
		head = nil
		return stream.Send(m)
	}, bytes.NewReader(data))
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the answer came early
		return rpc.Receipt{}, err
	}
	receipt, err := stream.CloseAndRecv()
	return rpc.Receipt{Duplicate: receipt.GetDuplicate(), Late: receipt.GetLate()}, err
}

// Download fetches a global model from offset on.
func (g *Gateway) Download(ctx context.Context, sha256 string, offset uint64) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := fedpb.NewFederationClient(g.conn).Download(ctx, &fedpb.DownloadRequest{Sha256: sha256, Offset: offset})
	if err != nil {
		return nil, err
	}
	var data []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		data = append(data, m.GetData()...)
	}
}

// Renew asks for a fresh certificate with a request that is rubbish, to see who
// may ask at all.
func (g *Gateway) Renew(ctx context.Context, csrDER []byte) error {
	_, err := fedpb.NewEnrolmentClient(g.conn).Renew(ctx, &fedpb.RenewRequest{CertificateRequestDer: csrDER})
	return err
}

// errorf names the gateway.
func (g *Gateway) errorf(format string, args ...any) error {
	return fmt.Errorf("gateway %q: %w", g.Name, fmt.Errorf(format, args...))
}
