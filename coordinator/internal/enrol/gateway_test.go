package enrol

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
)

func TestRenew(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	first, key := f.enrol(t, "gw")
	enrolled := f.clock.Now()
	f.clock.Add(200 * 24 * time.Hour)
	conn := f.connection(t, first.CertificateDER)

	if _, err := f.Renew(ctx, tls.ConnectionState{}, request(t, "gw", key)); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("without certificate: %v, want ErrNoCertificate", err)
	}
	if _, err := f.Renew(ctx, conn, request(t, "other", key)); !errors.Is(err, ErrRequest) {
		t.Errorf("for another name: %v, want ErrRequest", err)
	}
	if _, err := f.Renew(ctx, conn, []byte("junk")); !errors.Is(err, ErrRequest) {
		t.Errorf("with junk: %v, want ErrRequest", err)
	}

	lost, err := f.Renew(ctx, conn, request(t, "gw", newKey(t))) // the answer gets lost
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.Renew(ctx, conn, request(t, "gw", newKey(t))) // so the agent asks again
	if err != nil {
		t.Fatalf("asking again: %v", err)
	}
	if want := f.clock.Now().Add(365 * 24 * time.Hour); !second.Expires.Equal(want) {
		t.Errorf("renewed until %v, want %v", second.Expires, want)
	}
	for what, c := range map[string]struct {
		der  []byte
		want error
	}{"in use": {first.CertificateDER, nil}, "lost": {lost.CertificateDER, ErrSuperseded}, "new": {second.CertificateDER, nil}} {
		if _, err := f.Authenticate(ctx, f.connection(t, c.der)); !errors.Is(err, c.want) {
			t.Errorf("the certificate %s: %v, want %v", what, err, c.want)
		}
	}
	// The next renewal, with the new one, ends the first.
	if _, err := f.Renew(ctx, f.connection(t, second.CertificateDER), request(t, "gw", newKey(t))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Authenticate(ctx, conn); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the first certificate after two renewals: %v, want ErrSuperseded", err)
	}
	list, err := f.Gateways(ctx)
	if err != nil || len(list) != 1 || !list[0].Enrolled.Equal(enrolled) || !list[0].Issued.Equal(f.clock.Now()) {
		t.Errorf("Gateways = %+v, %v", list, err)
	}
}

func TestAuthenticate_ConnectionOutlivesCertificate(t *testing.T) {
	f := newFixture(t)
	issued, _ := f.enrol(t, "gw")
	conn := f.connection(t, issued.CertificateDER)
	f.clock.Add(366 * 24 * time.Hour)
	if _, err := f.Authenticate(t.Context(), conn); !errors.Is(err, ErrSuperseded) {
		t.Fatalf("after a year: %v, want ErrSuperseded", err)
	}
}

func TestRemove(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	key := newKey(t)
	id, secret := f.token(t, TokenOptions{Uses: 2})
	issued, err := f.Enrol(ctx, id, secret, request(t, "gw", key))
	if err != nil {
		t.Fatal(err)
	}
	f.enrol(t, "other")
	conn := f.connection(t, issued.CertificateDER)
	if err := f.Remove(ctx, "gw"); err != nil {
		t.Fatal(err)
	}
	if len(f.removed) != 1 || f.removed[0] != "gw" {
		t.Errorf("OnRemove was called for %v", f.removed)
	}
	if _, err := f.Authenticate(ctx, conn); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("a removed gateway: %v, want ErrNotEnrolled", err)
	}
	if _, err := f.Renew(ctx, conn, request(t, "gw", key)); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("a removed gateway renews: %v, want ErrNotEnrolled", err)
	}
	for _, name := range []string{"gw", "never", "../ca", ""} {
		if err := f.Remove(ctx, name); !errors.Is(err, ErrNotEnrolled) {
			t.Errorf("Remove(%q): %v, want ErrNotEnrolled", name, err)
		}
	}
	// Its enrolment is not answered again: that takes the token's second use.
	if _, err := f.Enrol(ctx, id, secret, request(t, "gw", key)); err != nil {
		t.Fatalf("enrolling again with the second use: %v", err)
	}
	if err := f.Remove(ctx, "gw"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Enrol(ctx, id, secret, request(t, "gw", key)); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("a removed gateway came back with a spent token: %v", err)
	}
	list, err := f.Gateways(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "other" {
		t.Errorf("Gateways = %+v, %v", list, err)
	}
}

// TestAuthority_DamagedRecords: a record that is not ours to read is an error
// naming it, never a way in.
func TestAuthority_DamagedRecords(t *testing.T) {
	f := newFixture(t)
	issued, _ := f.enrol(t, "gw")
	id, secret := f.token(t, TokenOptions{})
	for _, key := range []string{gatewayPrefix + "gw", tokenPrefix + id} {
		r, err := f.st.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.st.Put(t.Context(), key, []byte("{"), r.Revision); err != nil {
			t.Fatal(err)
		}
	}
	_, authenticate := f.Authenticate(t.Context(), f.connection(t, issued.CertificateDER))
	_, enrol := f.Enrol(t.Context(), id, secret, request(t, "x", newKey(t)))
	_, list := f.Gateways(t.Context())
	_, create := f.CreateToken(t.Context(), TokenOptions{})
	for what, err := range map[string]error{"Authenticate": authenticate, "Enrol": enrol, "Gateways": list, "CreateToken": create} {
		var corrupt *store.CorruptError
		if !errors.As(err, &corrupt) {
			t.Errorf("%s: %v, want a CorruptError", what, err)
		}
	}
}

func TestAuthority_StoreClosed(t *testing.T) {
	f := newFixture(t)
	issued, key := f.enrol(t, "gw")
	id, secret := f.token(t, TokenOptions{})
	conn := f.connection(t, issued.CertificateDER)
	if err := f.st.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	_, authenticate := f.Authenticate(ctx, conn)
	_, enrol := f.Enrol(ctx, id, secret, request(t, "x", newKey(t)))
	_, renew := f.Renew(ctx, conn, request(t, "gw", key))
	for what, err := range map[string]error{"Authenticate": authenticate, "Enrol": enrol, "Renew": renew, "Remove": f.Remove(ctx, "gw")} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}
