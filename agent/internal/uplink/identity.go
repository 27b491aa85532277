package uplink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
)

// identity is who the gateway is to the coordinator. It is one file, so key and
// certificate never disagree.
type identity struct {
	key     *ecdsa.PrivateKey
	cert    *x509.Certificate
	ca      *x509.Certificate
	tokenID string // of the token it was got with
}

const (
	identityFile = "identity.pem"
	keyFile      = "pending-key.pem"
	tokenHeader  = "Enrolled-With"
)

// renewAt is when to ask for the next certificate: at two thirds of its life.
func (id *identity) renewAt() time.Time {
	return id.cert.NotBefore.Add(id.cert.NotAfter.Sub(id.cert.NotBefore) / 3 * 2)
}

func (id *identity) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key, Leaf: id.cert}
}

// newIdentity checks that what the coordinator answered belongs together.
func newIdentity(key *ecdsa.PrivateKey, certDER, caDER []byte, gateway, tokenID string) (*identity, error) {
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	if pub, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("certificate is for another key")
	}
	if cert.Subject.CommonName != gateway {
		return nil, fmt.Errorf("certificate is for gateway %q, not %q", cert.Subject.CommonName, gateway)
	}
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("certificate is not signed by the CA it came with: %w", err)
	}
	return &identity{key: key, cert: cert, ca: ca, tokenID: tokenID}, nil
}

// loadIdentity returns fs.ErrNotExist when the gateway has not enrolled yet.
func loadIdentity(dir, gateway string) (*identity, error) {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var certs [][]byte
	var key *ecdsa.PrivateKey
	var tokenID string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			certs = append(certs, block.Bytes)
			tokenID += block.Headers[tokenHeader]
		case "EC PRIVATE KEY":
			if key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
		}
	}
	if key == nil || len(certs) != 2 {
		return nil, fmt.Errorf("read %s: it does not hold a key and two certificates; remove it and enrol again", path)
	}
	id, err := newIdentity(key, certs[0], certs[1], gateway, tokenID)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; remove it and enrol again", path, err)
	}
	return id, nil
}

func (id *identity) save(dir string) error {
	path := filepath.Join(dir, identityFile)
	key, err := x509.MarshalECPrivateKey(id.key)
	if err != nil {
		return err
	}
	headers := map[string]string{}
	if id.tokenID != "" {
		headers[tokenHeader] = id.tokenID
	}
	err = durable.WriteFile(path, slices.Concat( // mode 0600
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw, Headers: headers}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.ca.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
	))
	if err != nil {
		return fmt.Errorf("store certificate %q: %w", path, err)
	}
	return nil
}

// pendingKey returns the key of a request whose answer is not stored yet, making
// it if need be. It is kept until then: the answer to a first attempt may get
// lost, and the coordinator lets a token be shown twice with the same key.
func pendingKey(dir string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	if data, err := os.ReadFile(path); err == nil {
		if block, _ := pem.Decode(data); block != nil {
			if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
				return key, nil
			}
		}
		// Unreadable: nothing was issued for it that could be used.
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})); err != nil {
		return nil, fmt.Errorf("store key %q: %w", path, err)
	}
	return key, nil
}

func certificateRequest(key *ecdsa.PrivateKey, gateway string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: gateway},
	}, key)
}
