package fedrpc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
)

// Token is what a person carries from the coordinator to a new gateway: the right
// to enrol, and whom to trust meanwhile.
type Token struct {
	ID     string // names the token at the coordinator; not secret
	Secret string // proves it; compare in constant time
	// CASHA256 is the SHA-256 of the coordinator's CA certificate in DER. The
	// agent trusts no other, so no certificate file needs copying.
	CASHA256 [sha256.Size]byte
}

const (
	tokenPrefix    = "mw1"
	maxTokenField  = 128
	maxTokenLength = len(tokenPrefix) + 3 + 2*maxTokenField + 2*sha256.Size
)

// String returns the token as ParseToken reads it,
// "mw1.<id>.<secret>.<hex SHA-256 of the CA certificate>". It contains the secret.
func (t Token) String() string {
	return tokenPrefix + "." + t.ID + "." + t.Secret + "." + hex.EncodeToString(t.CASHA256[:])
}

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(tokenPrefix + "." + t.ID + ".…") }

// ParseToken reads a token; white space around it is ignored. ID and Secret are 1
// to 128 letters, digits, '-' or '_'. Errors say what is wrong and never show the
// secret.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	const mend = `; it looks like "mw1.<id>.<secret>.<64 hex digits>" and comes from "millwright-coordinator token create"`
	if text == "" {
		return Token{}, fmt.Errorf("token is empty%s", mend)
	}
	if len(text) > maxTokenLength {
		return Token{}, fmt.Errorf("token has %d characters, at most %d are possible%s", len(text), maxTokenLength, mend)
	}
	parts := strings.Split(text, ".")
	if parts[0] != tokenPrefix {
		return Token{}, fmt.Errorf("token does not begin with %q%s", tokenPrefix+".", mend)
	}
	if len(parts) != 4 {
		return Token{}, fmt.Errorf("token has %d parts between dots, not 4: copy it whole%s", len(parts), mend)
	}
	t := Token{ID: parts[1], Secret: parts[2]}
	if !tokenField(t.ID) {
		return Token{}, fmt.Errorf("token's id (second part) is empty, too long or has a character other than letters, digits, '-' and '_'%s", mend)
	}
	if !tokenField(t.Secret) {
		return Token{}, fmt.Errorf("token's secret (third part) is empty, too long or has a character other than letters, digits, '-' and '_'%s", mend)
	}
	if len(parts[3]) != 2*sha256.Size {
		return Token{}, fmt.Errorf("token's last part has %d characters, not %d: copy it whole%s", len(parts[3]), 2*sha256.Size, mend)
	}
	if _, err := hex.Decode(t.CASHA256[:], []byte(parts[3])); err != nil {
		return Token{}, fmt.Errorf("token's last part is not hexadecimal%s", mend)
	}
	return t, nil
}

func tokenField(s string) bool {
	if s == "" || len(s) > maxTokenField {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
