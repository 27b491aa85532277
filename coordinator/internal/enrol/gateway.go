package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
)

const (
	gatewayPrefix = "agent/"
	maxCSRBytes   = 16 << 10
)

// Gateway is one enrolled gateway.
type Gateway struct {
	Name        string    `json:"name"`
	Enrolled    time.Time `json:"enrolled"`     // first or, after a replacement, latest enrolment
	Issued      time.Time `json:"issued"`       // newest certificate
	CertExpires time.Time `json:"cert_expires"` // newest certificate
}

// Issued is the answer to an enrolment or renewal.
type Issued struct {
	Gateway        string
	CertificateDER []byte
	CADER          []byte
	Expires        time.Time
}

// gateway is the record at agent/<name>. Serials (hex) are the certificates
// that count: the newest, and the one it was renewed with, since the answer to a
// renewal can get lost.
type gateway struct {
	Gateway
	KeySHA256 string   `json:"key_sha256"` // of the newest certificate's public key
	Serials   []string `json:"serials"`
}

// Enrol exchanges a token and a PKCS #10 certificate request, whose common name
// is the gateway's name, for a certificate. It fails with one of this package's
// errors, or with the store's.
func (a *Authority) Enrol(ctx context.Context, tokenID, secret string, csrDER []byte) (Issued, error) {
	name, pub, keyHash, err := parseRequest(csrDER)
	if err != nil {
		return Issued{}, err
	}
	// Whether the name is free is looked at before the token is spent, and
	// decided after, when the record is written.
	t, _, err := a.readToken(ctx, tokenID, secret)
	if err != nil {
		return Issued{}, err
	}
	held, revision, err := a.readGateway(ctx, name)
	if err != nil && !errors.Is(err, ErrNotEnrolled) {
		return Issued{}, err
	}
	if err := mayTake(t, held, keyHash); err != nil {
		return Issued{}, fmt.Errorf("enrol %q: %w", name, err)
	}
	t, again, err := a.spend(ctx, tokenID, secret, name, keyHash)
	if err != nil {
		return Issued{}, fmt.Errorf("enrol %q: %w", name, err)
	}
	for {
		if err := mayTake(t, held, keyHash); err != nil {
			if !again {
				err = errors.Join(err, a.refund(ctx, tokenID, name, keyHash))
			}
			return Issued{}, fmt.Errorf("enrol %q: %w", name, err)
		}
		issued, next, err := a.issue(name, pub, keyHash)
		if err != nil {
			return Issued{}, fmt.Errorf("enrol %q: %w", name, err)
		}
		var conflict *store.ConflictError
		if _, err := putJSON(ctx, a.st, gatewayPrefix+name, next, revision); errors.As(err, &conflict) {
			if held, revision, err = a.readGateway(ctx, name); err != nil && !errors.Is(err, ErrNotEnrolled) {
				return Issued{}, fmt.Errorf("enrol %q: %w", name, err)
			}
			continue
		} else if err != nil {
			return Issued{}, fmt.Errorf("enrol %q: %w", name, err)
		}
		a.log.Info("enrolled gateway", "gateway", name, "token", tokenID, "replaced", revision != 0, "cert_expires", issued.Expires)
		if revision != 0 {
			a.opts.OnRemove(name) // sessions of the certificates that ceased to count
		}
		return issued, nil
	}
}

// mayTake says whether a token lets keyHash have the name that held holds; held
// is zero if none does.
func mayTake(t token, held gateway, keyHash string) error {
	if held.Name == "" || held.KeySHA256 == keyHash || t.Replace || t.Gateway == held.Name {
		return nil
	}
	return ErrNameTaken
}

// refund takes back a use that led to no certificate.
func (a *Authority) refund(ctx context.Context, tokenID, name, keyHash string) error {
	return a.amendUses(ctx, tokenPrefix+tokenID, func(used []use) []use {
		return slices.DeleteFunc(append([]use{}, used...), func(u use) bool {
			return u.Gateway == name && u.KeySHA256 == keyHash
		})
	})
}

// Renew issues a fresh certificate to the gateway that conn authenticates. The
// request names the same gateway; its key may be new. The certificate in use
// counts until the next renewal, so that an answer may get lost.
func (a *Authority) Renew(ctx context.Context, conn tls.ConnectionState, csrDER []byte) (Issued, error) {
	name, err := a.Authenticate(ctx, conn)
	if err != nil {
		return Issued{}, err
	}
	wanted, pub, keyHash, err := parseRequest(csrDER)
	if err != nil {
		return Issued{}, err
	}
	if wanted != name {
		return Issued{}, requestError("gateway %q asks for a certificate of %q: a renewal keeps the name", name, wanted)
	}
	inUse := conn.PeerCertificates[0].SerialNumber.Text(16)
	for {
		held, revision, err := a.readGateway(ctx, name)
		if err != nil {
			return Issued{}, fmt.Errorf("renew %q: %w", name, err)
		}
		if !slices.Contains(held.Serials, inUse) {
			return Issued{}, fmt.Errorf("renew %q: %w", name, ErrSuperseded)
		}
		issued, next, err := a.issue(name, pub, keyHash)
		if err != nil {
			return Issued{}, fmt.Errorf("renew %q: %w", name, err)
		}
		next.Enrolled = held.Enrolled
		next.Serials = append(next.Serials, inUse)
		var conflict *store.ConflictError
		if _, err := putJSON(ctx, a.st, gatewayPrefix+name, next, revision); errors.As(err, &conflict) {
			continue
		} else if err != nil {
			return Issued{}, fmt.Errorf("renew %q: %w", name, err)
		}
		a.log.Info("renewed gateway certificate", "gateway", name, "cert_expires", issued.Expires)
		return issued, nil
	}
}

// Authenticate returns the name of the gateway at the other end of a connection
// made with ServerTLS, if its certificate still counts: ErrNoCertificate,
// ErrNotEnrolled or ErrSuperseded otherwise. It reads the store, so a gateway
// that is removed is refused from the next call on; ask at every stream and
// again from time to time on a long one.
func (a *Authority) Authenticate(ctx context.Context, conn tls.ConnectionState) (string, error) {
	if len(conn.VerifiedChains) == 0 || len(conn.PeerCertificates) == 0 {
		return "", ErrNoCertificate
	}
	cert := conn.PeerCertificates[0]
	name := cert.Subject.CommonName
	held, _, err := a.readGateway(ctx, name)
	if err != nil {
		return "", fmt.Errorf("gateway %q: %w", name, err)
	}
	if !slices.Contains(held.Serials, cert.SerialNumber.Text(16)) {
		return "", fmt.Errorf("gateway %q: %w", name, ErrSuperseded)
	}
	if a.opts.Now().After(cert.NotAfter) { // a connection can outlive its certificate
		return "", fmt.Errorf("gateway %q: certificate expired on %s: %w", name, cert.NotAfter.Format(time.DateOnly), ErrSuperseded)
	}
	return name, nil
}

// Gateways returns the enrolled gateways by name.
func (a *Authority) Gateways(ctx context.Context) ([]Gateway, error) {
	records, err := a.st.List(ctx, gatewayPrefix)
	if err != nil {
		return nil, fmt.Errorf("list gateways: %w", err)
	}
	list := make([]Gateway, 0, len(records))
	for _, r := range records {
		var g gateway
		if err := json.Unmarshal(r.Value, &g); err != nil {
			return nil, recordError(r.Key, err)
		}
		list = append(list, g.Gateway)
	}
	return list, nil
}

// Remove refuses the gateway's certificates from now on; it can enrol again
// with a new token. ErrNotEnrolled if there is none of that name.
func (a *Authority) Remove(ctx context.Context, name string) error {
	for {
		_, revision, err := a.readGateway(ctx, name)
		if err != nil {
			return fmt.Errorf("remove gateway %q: %w", name, err)
		}
		// First the tokens: a repeated enrolment must not bring it back.
		tokens, err := a.st.List(ctx, tokenPrefix)
		if err != nil {
			return fmt.Errorf("remove gateway %q: %w", name, err)
		}
		for _, r := range tokens {
			if err := a.amendUses(ctx, r.Key, func(used []use) []use { return disown(used, name) }); err != nil {
				return fmt.Errorf("remove gateway %q: %w", name, err)
			}
		}
		var conflict *store.ConflictError
		if err := a.st.Delete(ctx, gatewayPrefix+name, revision); errors.As(err, &conflict) {
			continue
		} else if err != nil {
			return fmt.Errorf("remove gateway %q: %w", name, err)
		}
		a.log.Info("removed gateway", "gateway", name)
		a.opts.OnRemove(name)
		return nil
	}
}

// disown makes the uses of a token by a gateway unrepeatable; nil if it has none.
func disown(used []use, name string) (changed []use) {
	for i, u := range used {
		if u.Gateway == name && u.KeySHA256 != "" {
			if changed == nil {
				changed = slices.Clone(used)
			}
			changed[i].KeySHA256 = ""
		}
	}
	return changed
}

func (a *Authority) readGateway(ctx context.Context, name string) (gateway, uint64, error) {
	if CheckGatewayName(name) != nil {
		return gateway{}, 0, ErrNotEnrolled
	}
	r, err := a.st.Get(ctx, gatewayPrefix+name)
	if errors.Is(err, store.ErrNotFound) {
		return gateway{}, 0, ErrNotEnrolled
	}
	if err != nil {
		return gateway{}, 0, err
	}
	var g gateway
	if err := json.Unmarshal(r.Value, &g); err != nil {
		return gateway{}, 0, recordError(r.Key, err)
	}
	return g, r.Revision, nil
}

// issue signs a client certificate and returns it with the record to keep.
func (a *Authority) issue(name string, pub any, keyHash string) (Issued, gateway, error) {
	now := a.opts.Now().UTC()
	der, err := a.ca.sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(a.opts.Lifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pub)
	if err != nil {
		return Issued{}, gateway{}, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Issued{}, gateway{}, fmt.Errorf("sign certificate: %w", err)
	}
	return Issued{Gateway: name, CertificateDER: der, CADER: a.ca.cert.Raw, Expires: cert.NotAfter},
		gateway{
			Gateway:   Gateway{Name: name, Enrolled: now, Issued: now, CertExpires: cert.NotAfter},
			KeySHA256: keyHash, Serials: []string{cert.SerialNumber.Text(16)},
		}, nil
}

// parseRequest checks a certificate request and returns the gateway's name, its
// public key and that key's hash. Errors wrap ErrRequest.
func parseRequest(der []byte) (name string, pub any, keyHash string, err error) {
	if len(der) > maxCSRBytes {
		return "", nil, "", requestError("certificate request has %d bytes, at most %d are allowed", len(der), maxCSRBytes)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return "", nil, "", requestError("parse certificate request: %v", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return "", nil, "", requestError("check certificate request: %v", err)
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return "", nil, "", requestError("key is on curve %s: use ECDSA P-256", key.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
			return "", nil, "", requestError("RSA key has %d bits: use ECDSA P-256, or RSA with 2048 to 4096", bits)
		}
	default:
		return "", nil, "", requestError("key is a %T: use ECDSA P-256", csr.PublicKey)
	}
	name = csr.Subject.CommonName
	if err := CheckGatewayName(name); err != nil {
		return "", nil, "", err
	}
	return name, csr.PublicKey, hashHex(csr.RawSubjectPublicKeyInfo), nil
}
