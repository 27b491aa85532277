package fedrpc

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ServerTLS is the coordinator's side of the connection: TLS 1.3; a client
// certificate is optional, since enrolment comes without one, but when given it
// must be issued by clientCA. Federation handlers insist on one with [PeerName].
//
// get returns the certificate in use, so it can be renewed while running. Its
// chain must be the leaf followed by the CA's own certificate: an agent that
// enrols knows the CA only by digest and looks for it there.
func ServerTLS(get func() (*tls.Certificate, error), clientCA *x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(clientCA)
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return get() },
		// A resumed session would keep the certificate of the first one.
		SessionTicketsDisabled: true,
	}
}

// EnrolmentTLS is the agent's side before it has a certificate. It accepts a
// server only if the chain it presents contains the CA certificate with digest
// caSHA256 (else *PinError) and that CA issued the server's certificate for
// serverName, a host name or an IP address.
func EnrolmentTLS(serverName string, caSHA256 [sha256.Size]byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		// The usual verification needs the CA beforehand. VerifyConnection does
		// the same with the CA found by its digest.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyPinned(s.PeerCertificates, serverName, caSHA256)
		},
	}
}

func verifyPinned(chain []*x509.Certificate, serverName string, pin [sha256.Size]byte) error {
	if len(chain) == 0 {
		return errors.New("verify coordinator: it presented no certificate")
	}
	if serverName == "" {
		return errors.New("verify coordinator: its address has no host name")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	var ca *x509.Certificate
	for _, c := range chain[1:] {
		if sha256.Sum256(c.Raw) == pin {
			ca = c
			roots.AddCert(c)
		} else {
			between.AddCert(c)
		}
	}
	if ca == nil {
		return &PinError{Want: pin, Got: sha256.Sum256(chain[len(chain)-1].Raw)}
	}
	if !ca.IsCA {
		return fmt.Errorf("verify coordinator: the certificate %x named by the token is not a CA's", pin[:8])
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, DNSName: serverName,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}

// PinError says that the coordinator is not the one the token was made by.
type PinError struct {
	Want [sha256.Size]byte // CA digest in the token
	Got  [sha256.Size]byte // digest of the last certificate presented
}

func (e *PinError) Error() string {
	return fmt.Sprintf("coordinator's CA certificate %x… is not the one the token names, %x…", e.Got[:8], e.Want[:8])
}

// AgentTLS is the agent's side once it has a certificate: mutual TLS 1.3, the
// server verified against ca and serverName.
func AgentTLS(serverName string, cert tls.Certificate, ca *x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		RootCAs:    pool,
		// Always offered: with Certificates alone it would silently be left out
		// when the server does not name its issuer.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}
