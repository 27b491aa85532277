package enrol

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
)

const (
	caLifetime  = 20 * 365 * 24 * time.Hour
	caCertFile  = "ca.crt"
	caKeyFile   = "ca.key"
	caRecordKey = "ca" // digest of the CA's certificate, so that a lost directory is noticed
	caMend      = "restore the directory from a backup; without one, begin with an empty data_dir and enrol every gateway again"
)

// ca is a certificate authority: a self-signed certificate and its key.
type ca struct {
	cert   *x509.Certificate
	key    crypto.Signer
	digest string // hex SHA-256 of cert.Raw
}

// openCA loads the authority in dir or creates it. The store's record "ca" says
// whether there ever was one: an authority that went missing is not replaced,
// for no gateway would trust the new one.
func openCA(ctx context.Context, dir string, st store.Store, now time.Time, log *slog.Logger) (*ca, error) {
	record, err := st.Get(ctx, caRecordKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	known := err == nil
	_, err = os.Stat(dir)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open certificate authority: %w", err)
	case known:
		return nil, fmt.Errorf("open certificate authority: %q is missing but the store belongs to CA %s: %s", dir, record.Value, caMend)
	default:
		if err := createCA(dir, now); err != nil {
			return nil, fmt.Errorf("create certificate authority %q: %w", dir, err)
		}
		log.Info("created certificate authority", "dir", dir)
	}
	c, err := loadCA(dir, now)
	if err != nil {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	if known && string(record.Value) != c.digest {
		return nil, fmt.Errorf("open certificate authority: %q holds CA %s but the store belongs to CA %s: %s", dir, c.digest, record.Value, caMend)
	}
	if !known {
		if _, err := st.Put(ctx, caRecordKey, []byte(c.digest), 0); err != nil {
			return nil, fmt.Errorf("note certificate authority in the store: %w", err)
		}
	}
	if left := c.cert.NotAfter.Sub(now); left < 365*24*time.Hour {
		log.Warn("certificate authority expires within a year; plan to enrol every gateway again", "not_after", c.cert.NotAfter)
	}
	return c, nil
}

// createCA writes key and certificate into a directory beside dir and renames it,
// so that dir is there whole or not at all, whenever the power goes.
func createCA(dir string, now time.Time) (err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Millwright CA " + serial.Text(16)[:8]},
		// A day earlier, for gateways whose clocks are late.
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(caLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}

	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if stale, err := filepath.Glob(filepath.Join(parent, ".ca-new-*")); err == nil {
		for _, path := range stale { // of a creation that was interrupted; no one has used it
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	tmp, err := os.MkdirTemp(parent, ".ca-new-*") // mode 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := writeSynced(filepath.Join(tmp, caKeyFile), "PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, caCertFile), "CERTIFICATE", certDER, 0o644); err != nil {
		return err
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(parent)
}

// loadCA reads dir and checks that its certificate and key belong together.
func loadCA(dir string, now time.Time) (*ca, error) {
	keyPath, certPath := filepath.Join(dir, caKeyFile), filepath.Join(dir, caCertFile)
	info, err := os.Stat(keyPath)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, caMend)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%q has mode %04o, so others can read the CA's key: chmod 600 it", keyPath, mode)
	}
	keyDER, err := readPEM(keyPath, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	certDER, err := readPEM(certPath, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("%q is damaged: %w: %s", keyPath, err, caMend)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%q holds a %T, want an ECDSA key: %s", keyPath, parsed, caMend)
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("%q is damaged: %w: %s", certPath, err, caMend)
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%q and %q do not belong together: %s", keyPath, certPath, caMend)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("%q is damaged: %w: %s", certPath, err, caMend)
	}
	if now.After(cert.NotAfter) {
		return nil, fmt.Errorf("%q expired on %s: check this machine's clock; if it is right, begin with an empty data_dir and enrol every gateway again", certPath, cert.NotAfter.Format(time.DateOnly))
	}
	if now.Before(cert.NotBefore) {
		return nil, fmt.Errorf("%q is valid only from %s: set this machine's clock", certPath, cert.NotBefore.Format(time.DateOnly))
	}
	sum := sha256.Sum256(cert.Raw)
	return &ca{cert: cert, key: key, digest: hex.EncodeToString(sum[:])}, nil
}

// sign issues a certificate for template's subject and public key pub.
func (c *ca) sign(template *x509.Certificate, pub any) ([]byte, error) {
	if template.NotAfter.After(c.cert.NotAfter) {
		template.NotAfter = c.cert.NotAfter
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, c.cert, pub, c.key)
}

// newSerial returns a positive random number of exactly 128 bits: unique without
// being counted (RFC 5280, section 4.1.2.2: at most 20 octets).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 127, 1), nil
}

func readPEM(path, kind string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, caMend)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != kind || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%q is damaged: it is not one PEM block of type %s: %s", path, kind, caMend)
	}
	return block.Bytes, nil
}

func writeSynced(path, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
