package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
)

func TestEnrol_Certificate(t *testing.T) {
	f := newFixture(t)
	issued, key := f.enrol(t, "hall-3")
	cert, err := x509.ParseCertificate(issued.CertificateDER)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "hall-3" || issued.Gateway != "hall-3" || !key.Public().(*ecdsa.PublicKey).Equal(cert.PublicKey) {
		t.Errorf("certificate is of %q, with another key", cert.Subject)
	}
	if cert.IsCA || len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("certificate is good for %v, CA %v; want client authentication only", cert.ExtKeyUsage, cert.IsCA)
	}
	if want := f.clock.Now().Add(365 * 24 * time.Hour); !cert.NotAfter.Equal(want) || !issued.Expires.Equal(want) {
		t.Errorf("certificate expires %v, answer says %v, want %v", cert.NotAfter, issued.Expires, want)
	}
	if string(issued.CADER) != string(f.ca.cert.Raw) {
		t.Error("the CA in the answer is another one")
	}
	name, err := f.Authenticate(t.Context(), f.connection(t, issued.CertificateDER))
	if err != nil || name != "hall-3" {
		t.Errorf("Authenticate = %q, %v", name, err)
	}
	list, err := f.Gateways(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "hall-3" || !list[0].Enrolled.Equal(f.clock.Now()) || !list[0].CertExpires.Equal(cert.NotAfter) {
		t.Errorf("Gateways = %+v, %v", list, err)
	}
}

func TestEnrol_Tokens(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	id, secret := f.token(t, TokenOptions{TTL: time.Hour})
	for name, c := range map[string]struct {
		id, secret string
		want       error
	}{
		"other id":     {"0000000000000000", secret, ErrTokenUnknown},
		"other secret": {id, strings.Repeat("0", 32), ErrTokenUnknown},
		"no secret":    {id, "", ErrTokenUnknown},
		"no id":        {"", secret, ErrTokenUnknown},
		"odd id":       {"../ca", secret, ErrTokenUnknown},
	} {
		if _, err := f.Enrol(ctx, c.id, c.secret, request(t, "gw", newKey(t))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Failures do not count; the real one does, once.
	if _, err := f.Enrol(ctx, id, secret, request(t, "gw", newKey(t))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Enrol(ctx, id, secret, request(t, "gw-2", newKey(t))); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("second use: %v, want ErrTokenUsed", err)
	}

	id, secret = f.token(t, TokenOptions{TTL: time.Hour})
	f.clock.Add(time.Hour)
	if _, err := f.Enrol(ctx, id, secret, request(t, "late", newKey(t))); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("late use: %v, want ErrTokenExpired", err)
	}
	if _, err := f.Enrol(ctx, id, "wrong", request(t, "late", newKey(t))); !errors.Is(err, ErrTokenUnknown) {
		t.Errorf("late use with a wrong secret: %v, want ErrTokenUnknown", err)
	}

	id, secret = f.token(t, TokenOptions{Gateway: "pinned"})
	if _, err := f.Enrol(ctx, id, secret, request(t, "other", newKey(t))); !errors.Is(err, ErrTokenPinned) {
		t.Errorf("pinned token used by another: %v, want ErrTokenPinned", err)
	}
	if _, err := f.Enrol(ctx, id, secret, request(t, "pinned", newKey(t))); err != nil {
		t.Errorf("pinned token: %v", err)
	}
}

func TestCreateToken_Options(t *testing.T) {
	f := newFixture(t)
	for name, opts := range map[string]TokenOptions{
		"negative life": {TTL: -1}, "endless": {TTL: 400 * 24 * time.Hour},
		"negative uses": {Uses: -1}, "many uses": {Uses: maxUses + 1},
		"name with a slash": {Gateway: "a/b"}, "name with a dot at the end": {Gateway: "a."}, "long name": {Gateway: strings.Repeat("a", 64)},
	} {
		if text, err := f.CreateToken(t.Context(), opts); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %q, %v; want ErrRequest", name, text, err)
		}
	}
	id, secret := f.token(t, TokenOptions{})
	r, err := f.st.Get(t.Context(), tokenPrefix+id)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(r.Value), secret) {
		t.Error("the store holds the secret")
	}
	var held token
	if err := json.Unmarshal(r.Value, &held); err != nil || held.Uses != 1 || !held.Expires.Equal(f.clock.Now().Add(24*time.Hour)) {
		t.Errorf("token is %+v, %v; want one use within a day", held, err)
	}
	// Long after its end it is forgotten.
	f.clock.Add(24*time.Hour + tokenMemory)
	f.token(t, TokenOptions{})
	if _, err := f.st.Get(t.Context(), tokenPrefix+id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an old token is still there: %v", err)
	}
}

// TestEnrol_ConcurrentUses: of many gateways racing for a token, as many win as
// it has uses.
func TestEnrol_ConcurrentUses(t *testing.T) {
	f := newFixture(t)
	const racers, uses = 24, 5
	id, secret := f.token(t, TokenOptions{Uses: uses})
	requests := make([][]byte, racers)
	for i := range requests {
		requests[i] = request(t, "gw-"+string(rune('a'+i)), newKey(t))
	}
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { _, errs[i] = f.Enrol(t.Context(), id, secret, requests[i]) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrTokenUsed) {
			t.Errorf("a loser heard %v, want ErrTokenUsed", err)
		}
	}
	list, err := f.Gateways(t.Context())
	if won != uses || len(list) != uses || err != nil {
		t.Fatalf("%d enrolled, %d are listed (%v), want %d", won, len(list), err, uses)
	}
}

// TestEnrol_ConcurrentName: many tokens, one name: one wins, and the tokens of
// the others can still be used.
func TestEnrol_ConcurrentName(t *testing.T) {
	f := newFixture(t)
	const racers = 12
	type entry struct{ id, secret string }
	tokens, requests, errs := make([]entry, racers), make([][]byte, racers), make([]error, racers)
	for i := range racers {
		tokens[i].id, tokens[i].secret = f.token(t, TokenOptions{})
		requests[i] = request(t, "wanted", newKey(t))
	}
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { _, errs[i] = f.Enrol(t.Context(), tokens[i].id, tokens[i].secret, requests[i]) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			continue
		}
		if !errors.Is(err, ErrNameTaken) {
			t.Errorf("a loser heard %v, want ErrNameTaken", err)
		}
		if _, err := f.Enrol(t.Context(), tokens[i].id, tokens[i].secret, request(t, "other-"+string(rune('a'+i)), newKey(t))); err != nil {
			t.Errorf("a loser's token is spent: %v", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d gateways got one name", won)
	}
}

// TestEnrol_AnswerLost: asking again with the same key costs no use, whether or
// not the record had been written; with another key it does.
func TestEnrol_AnswerLost(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	key := newKey(t)
	id, secret := f.token(t, TokenOptions{})
	first, err := f.Enrol(ctx, id, secret, request(t, "gw", key))
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.Enrol(ctx, id, secret, request(t, "gw", key))
	if err != nil {
		t.Fatalf("asking again: %v", err)
	}
	if _, err := f.Authenticate(ctx, f.connection(t, second.CertificateDER)); err != nil {
		t.Errorf("the second certificate: %v", err)
	}
	if _, err := f.Authenticate(ctx, f.connection(t, first.CertificateDER)); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the first certificate: %v, want ErrSuperseded", err)
	}
	if _, err := f.Enrol(ctx, id, secret, request(t, "gw", newKey(t))); err == nil {
		t.Error("another key enrolled with a spent token")
	}

	// The coordinator died between spending the token and writing the record.
	lost := newKey(t)
	id, secret = f.token(t, TokenOptions{})
	_, _, hash, err := parseRequest(request(t, "lost", lost))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.spend(ctx, id, secret, "lost", hash); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Enrol(ctx, id, secret, request(t, "lost", lost)); err != nil {
		t.Errorf("after the crash: %v", err)
	}
}

func TestEnrol_ExistingName(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	old, oldKey := f.enrol(t, "gw")
	conn := f.connection(t, old.CertificateDER)

	id, secret := f.token(t, TokenOptions{Uses: 2})
	if _, err := f.Enrol(ctx, id, secret, request(t, "gw", newKey(t))); !errors.Is(err, ErrNameTaken) {
		t.Fatalf("hijack: %v, want ErrNameTaken", err)
	}
	if _, err := f.Authenticate(ctx, conn); err != nil {
		t.Fatalf("the gateway suffered from an attempt: %v", err)
	}
	if len(f.removed) != 0 {
		t.Fatalf("OnRemove was called for %v", f.removed)
	}
	again, err := f.Enrol(ctx, id, secret, request(t, "gw", oldKey))
	if err != nil {
		t.Fatalf("the same key again: %v", err)
	}
	for kind, opts := range map[string]TokenOptions{"pinned": {Gateway: "gw"}, "replacing": {Replace: true}} {
		before := f.connection(t, again.CertificateDER)
		id, secret := f.token(t, opts)
		if again, err = f.Enrol(ctx, id, secret, request(t, "gw", newKey(t))); err != nil {
			t.Fatalf("%s token: %v", kind, err)
		}
		if _, err := f.Authenticate(ctx, before); !errors.Is(err, ErrSuperseded) {
			t.Errorf("%s token: the old certificate: %v, want ErrSuperseded", kind, err)
		}
		if _, err := f.Authenticate(ctx, f.connection(t, again.CertificateDER)); err != nil {
			t.Errorf("%s token: the new certificate: %v", kind, err)
		}
	}
	if got := strings.Join(f.removed, " "); got != "gw gw gw" {
		t.Errorf("OnRemove was called for %q, want three times gw", got)
	}
}

func TestEnrol_Requests(t *testing.T) {
	f := newFixture(t)
	id, secret := f.token(t, TokenOptions{Uses: 100})
	good := request(t, "gw", newKey(t))
	forged := append([]byte{}, good...)
	forged[len(forged)-1] ^= 1
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "cut": good[:len(good)-5], "huge": make([]byte, 1<<20),
		"forged signature": forged, "P-224": request(t, "gw", p224), "RSA 1024": request(t, "gw", weak),
		"no name": request(t, "", newKey(t)), "wild name": request(t, "a/../b", newKey(t)),
		"name with a dot at the end": request(t, "gw.", newKey(t)), "long name": request(t, strings.Repeat("g", 64), newKey(t)),
	} {
		if _, err := f.Enrol(t.Context(), id, secret, der); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v, want ErrRequest", name, err)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"gw": newKey(t), "Hall_3.a": ed, "p384": p384, "rsa": rsa2048, strings.Repeat("g", 63): newKey(t)} {
		issued, err := f.Enrol(t.Context(), id, secret, request(t, name, key))
		if err != nil {
			t.Errorf("%s with a %T: %v", name, key, err)
			continue
		}
		if _, err := f.Authenticate(t.Context(), f.connection(t, issued.CertificateDER)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte{})
	f.Add(request(f, "gw", newKey(f)))
	f.Fuzz(func(t *testing.T, der []byte) {
		name, _, hash, err := parseRequest(der)
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Fatalf("error is %v, want ErrRequest", err)
			}
			return
		}
		if CheckGatewayName(name) != nil || len(hash) != 64 || store.CheckKey(gatewayPrefix+name) != nil {
			t.Fatalf("accepted name %q, hash %q", name, hash)
		}
	})
}
