package enrol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"

	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// ServerTLS returns the configuration for the port agents connect to: TLS 1.3, a
// server certificate of our own CA that renews itself, and a client certificate
// that is optional (enrolment happens without one) but, if given, must be ours.
// Whether it still counts is for Authenticate to say.
func (a *Authority) ServerTLS() *tls.Config {
	config := fedrpc.ServerTLS(a.serverCertificate, a.ca.cert)
	config.Time = a.opts.Now
	return config
}

// serverCertificate returns the certificate in use, or a fresh one when less
// than a third of its life is left. Its key lives in memory only: agents trust
// the CA, so nothing is lost with it.
func (a *Authority) serverCertificate() (*tls.Certificate, error) {
	now := a.opts.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil && a.server.Leaf.NotAfter.Sub(now) > a.opts.ServerLifetime/3 {
		return a.server, nil
	}
	fresh, err := a.issueServer(now)
	if err != nil {
		if a.server != nil && now.Before(a.server.Leaf.NotAfter) {
			a.log.Error("renew server certificate", "error", err)
			return a.server, nil
		}
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	a.server = fresh
	a.log.Info("issued server certificate", "hosts", a.opts.Hosts, "not_after", fresh.Leaf.NotAfter)
	return fresh, nil
}

func (a *Authority) issueServer(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "millwright-coordinator"},
		// As old as the CA: a gateway without a clock battery starts with a date
		// in the past, and must still find its coordinator.
		NotBefore:             a.ca.cert.NotBefore,
		NotAfter:              now.Add(a.opts.ServerLifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range a.opts.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := a.ca.sign(template, key.Public())
	if err != nil {
		return nil, fmt.Errorf("for hosts %q: %w", a.opts.Hosts, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.ca.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
