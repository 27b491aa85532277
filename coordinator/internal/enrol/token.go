package enrol

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// TokenOptions says what a token is good for.
type TokenOptions struct {
	// TTL is how long it may be used. Default 24 h, at most a year.
	TTL time.Duration
	// Uses is how many gateways may enrol with it. Default 1, at most 10000.
	Uses int
	// Gateway, if set, is the only name it enrols; it may be enrolled already.
	Gateway string
	// Replace lets it enrol a name that another key holds.
	Replace bool
}

const (
	tokenPrefix = "token/"
	maxTokenTTL = 365 * 24 * time.Hour
	maxUses     = 10000
	// How long an expired token is remembered, so that a late agent hears
	// "expired" and not "unknown".
	tokenMemory = 7 * 24 * time.Hour
)

// token is the record at token/<id>. The secret is 128 random bits, so a plain
// hash of it cannot be guessed.
type token struct {
	SecretSHA256 string    `json:"secret_sha256"`
	Created      time.Time `json:"created"`
	Expires      time.Time `json:"expires"`
	Uses         int       `json:"uses"`
	Gateway      string    `json:"gateway,omitempty"`
	Replace      bool      `json:"replace,omitempty"`
	Used         []use     `json:"used,omitempty"`
}

// use is one enrolment with a token. An empty KeySHA256 counts but cannot be
// answered again.
type use struct {
	Gateway   string    `json:"gateway"`
	KeySHA256 string    `json:"key_sha256,omitempty"`
	At        time.Time `json:"at"`
}

// CreateToken stores a new token and returns its text,
// "mw1.<id>.<secret>.<hex SHA-256 of the CA certificate>". The text cannot be had
// again: only a hash of the secret is kept.
func (a *Authority) CreateToken(ctx context.Context, opts TokenOptions) (string, error) {
	if opts.TTL == 0 {
		opts.TTL = 24 * time.Hour
	}
	if opts.Uses == 0 {
		opts.Uses = 1
	}
	if opts.TTL < 0 || opts.TTL > maxTokenTTL {
		return "", requestError("a token's lifetime must be more than 0 and at most %v, got %v", maxTokenTTL, opts.TTL)
	}
	if opts.Uses < 0 || opts.Uses > maxUses {
		return "", requestError("a token's uses must be from 1 to %d, got %d", maxUses, opts.Uses)
	}
	if opts.Gateway != "" {
		if err := CheckGatewayName(opts.Gateway); err != nil {
			return "", err
		}
	}
	now := a.opts.Now()
	if err := a.forgetTokens(ctx, now); err != nil {
		return "", fmt.Errorf("create enrolment token: %w", err)
	}
	id, secret := randomHex(8), randomHex(16)
	t := token{
		SecretSHA256: hashHex([]byte(secret)), Created: now.UTC(), Expires: now.Add(opts.TTL).UTC(),
		Uses: opts.Uses, Gateway: opts.Gateway, Replace: opts.Replace,
	}
	if _, err := putJSON(ctx, a.st, tokenPrefix+id, t, 0); err != nil {
		return "", fmt.Errorf("create enrolment token: %w", err)
	}
	a.log.Info("created enrolment token", "id", id, "expires", t.Expires, "uses", t.Uses, "gateway", t.Gateway, "replace", t.Replace)
	return "mw1." + id + "." + secret + "." + a.ca.digest, nil
}

// forgetTokens deletes tokens that expired long ago.
func (a *Authority) forgetTokens(ctx context.Context, now time.Time) error {
	records, err := a.st.List(ctx, tokenPrefix)
	if err != nil {
		return err
	}
	for _, r := range records {
		var t token
		if err := json.Unmarshal(r.Value, &t); err != nil {
			return recordError(r.Key, err)
		}
		if now.Sub(t.Expires) < tokenMemory {
			continue
		}
		var conflict *store.ConflictError
		if err := a.st.Delete(ctx, r.Key, r.Revision); err != nil && !errors.As(err, &conflict) {
			return err
		}
	}
	return nil
}

// spend counts one use of a token by gateway with the key keyHash, or recognises
// that it was counted before (again). The record changes by compare-and-set, so
// of two enrolments that race for the last use one fails.
func (a *Authority) spend(ctx context.Context, id, secret, gateway, keyHash string) (t token, again bool, err error) {
	select {
	case a.spending <- struct{}{}:
		defer func() { <-a.spending }()
	case <-ctx.Done():
		return token{}, false, ctx.Err()
	}
	for { // another coordinator on the same store may still be in between
		t, revision, err := a.readToken(ctx, id, secret)
		if err != nil {
			return token{}, false, err
		}
		if t.Gateway != "" && t.Gateway != gateway {
			return token{}, false, fmt.Errorf("%w: it is for %q, not %q", ErrTokenPinned, t.Gateway, gateway)
		}
		for _, u := range t.Used {
			if u.Gateway == gateway && u.KeySHA256 == keyHash {
				return t, true, nil
			}
		}
		if len(t.Used) >= t.Uses {
			return token{}, false, ErrTokenUsed
		}
		t.Used = append(t.Used, use{Gateway: gateway, KeySHA256: keyHash, At: a.opts.Now().UTC()})
		var conflict *store.ConflictError
		if _, err := putJSON(ctx, a.st, tokenPrefix+id, t, revision); errors.As(err, &conflict) {
			continue
		} else if err != nil {
			return token{}, false, fmt.Errorf("use enrolment token %s: %w", id, err)
		}
		return t, false, nil
	}
}

// readToken returns the token if secret is its secret and it has not expired.
// Only who knows the secret learns more than "unknown".
func (a *Authority) readToken(ctx context.Context, id, secret string) (token, uint64, error) {
	if store.CheckKey(tokenPrefix+id) != nil {
		return token{}, 0, ErrTokenUnknown
	}
	r, err := a.st.Get(ctx, tokenPrefix+id)
	if errors.Is(err, store.ErrNotFound) {
		return token{}, 0, ErrTokenUnknown
	}
	if err != nil {
		return token{}, 0, fmt.Errorf("read enrolment token: %w", err)
	}
	var t token
	if err := json.Unmarshal(r.Value, &t); err != nil {
		return token{}, 0, recordError(r.Key, err)
	}
	if subtle.ConstantTimeCompare([]byte(t.SecretSHA256), []byte(hashHex([]byte(secret)))) != 1 {
		return token{}, 0, ErrTokenUnknown
	}
	if !a.opts.Now().Before(t.Expires) {
		return token{}, 0, fmt.Errorf("%w (it was valid until %s)", ErrTokenExpired, t.Expires.Format(time.RFC3339))
	}
	return t, r.Revision, nil
}

// amendUses rewrites the uses of one token; change returns nil to leave it.
func (a *Authority) amendUses(ctx context.Context, key string, change func([]use) []use) error {
	for {
		r, err := a.st.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		var t token
		if err := json.Unmarshal(r.Value, &t); err != nil {
			return recordError(key, err)
		}
		changed := change(t.Used)
		if changed == nil {
			return nil
		}
		t.Used = changed
		var conflict *store.ConflictError
		if _, err := putJSON(ctx, a.st, key, t, r.Revision); !errors.As(err, &conflict) {
			return err
		}
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

func hashHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func putJSON(ctx context.Context, st store.Store, key string, value any, revision uint64) (uint64, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	return st.Put(ctx, key, data, revision)
}

func recordError(key string, err error) error {
	return &store.CorruptError{Place: fmt.Sprintf("record %q", key), Mend: "restore the store from a backup", Err: err}
}

func requestError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRequest, fmt.Sprintf(format, args...))
}
