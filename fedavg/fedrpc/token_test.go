package fedrpc

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"strings"
	"testing"
)

// The digest of the empty string, from FIPS 180-4's published examples.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseToken_RoundTrip(t *testing.T) {
	want := Token{ID: "a1-b", Secret: "s_Ecret9", CASHA256: sha256.Sum256(nil)}
	text := "mw1.a1-b.s_Ecret9." + emptySHA256
	if got := want.String(); got != text {
		t.Fatalf("String() = %q, want %q", got, text)
	}
	got, err := ParseToken(" " + text + "\n")
	if err != nil || got != want {
		t.Fatalf("ParseToken = %+v, %v; want %+v", got, err, want)
	}
}

func TestParseToken_SaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"empty":        {" \n", "token is empty"},
		"other prefix": {"mw2.a.b." + emptySHA256, `does not begin with "mw1."`},
		"cut off":      {"mw1.a.SECRET", "3 parts between dots"},
		"too many":     {"mw1.a.SECRET.x." + emptySHA256, "5 parts between dots"},
		"no id":        {"mw1..SECRET." + emptySHA256, "id (second part)"},
		"bad secret":   {"mw1.a.SEC RET." + emptySHA256, "secret (third part)"},
		"short digest": {"mw1.a.SECRET." + emptySHA256[:63], "has 63 characters, not 64"},
		"not hex":      {"mw1.a.SECRET.z" + emptySHA256[1:], "not hexadecimal"},
		"huge":         {"mw1." + strings.Repeat("a", 1000), "has 1004 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseToken(c.text)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v does not say %q", err, c.says)
			}
			if strings.Contains(err.Error(), "SEC") {
				t.Fatalf("error shows the secret: %v", err)
			}
		})
	}
}

func TestToken_LogHidesSecret(t *testing.T) {
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("enrol", "token", Token{ID: "abc", Secret: "hush"})
	if s := log.String(); strings.Contains(s, "hush") || !strings.Contains(s, "abc") {
		t.Fatalf("log line %q: want the id and not the secret", s)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("mw1.a1-b.s_Ecret9." + emptySHA256)
	f.Add("mw1.a.b.")
	f.Add("mw1....")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		again, err := ParseToken(token.String())
		if err != nil || again != token {
			t.Fatalf("ParseToken(%q) = %+v, whose text parses to %+v, %v", text, token, again, err)
		}
	})
}

func TestCheckGatewayName(t *testing.T) {
	for _, ok := range []string{"a", "hall-3", "plant_2.hall-3", strings.Repeat("x", 63)} {
		if err := CheckGatewayName(ok); err != nil {
			t.Errorf("CheckGatewayName(%q) = %v", ok, err)
		}
	}
	for _, bad := range []string{"", "-a", ".a", "a/b", "a b", "a+", "ä", "a#", strings.Repeat("x", 64)} {
		if CheckGatewayName(bad) == nil {
			t.Errorf("CheckGatewayName(%q) = nil", bad)
		}
	}
}
