package ledger

import (
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

func open(t *testing.T, st store.Store, lineage string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), st, "pump", lineage)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, l *Ledger, gateway, digest string, round uint64) (replaced string) {
	t.Helper()
	replaced, err := l.Put(t.Context(), Contribution{Gateway: gateway, Blob: store.Blob{SHA256: digest, Size: 9}, Round: round, Weight: 10})
	if err != nil {
		t.Fatal(err)
	}
	return replaced
}

// digests lists "gateway:digest" of all contributions.
func digests(l *Ledger) string {
	var out []string
	for _, c := range l.All() {
		out = append(out, c.Gateway+":"+c.Blob.SHA256)
	}
	return strings.Join(out, " ")
}

func TestLedger_NewestContributionOfEach(t *testing.T) {
	st := memstore.New()
	l := open(t, st, "one")
	put(t, l, "b", "b1", 1)
	put(t, l, "a", "a1", 1)
	if got := put(t, l, "a", "a1", 1); got != "" {
		t.Errorf("the same again replaced %q", got)
	}
	if got := put(t, l, "a", "a2", 2); got != "a1" {
		t.Errorf("replaced %q, want a1", got)
	}
	for _, l := range []*Ledger{l, open(t, st, "one")} { // after a restart too
		if got := digests(l); got != "a:a2 b:b1" {
			t.Errorf("contributions %q", got)
		}
		if l.Holds("a1") || !l.Holds("a2") || !l.Holds("b1") {
			t.Error("holds the wrong blobs")
		}
	}
	if c, ok := l.Find("a"); !ok || c.Round != 2 || c.Weight != 10 {
		t.Errorf("found %+v", c)
	}
}

func TestLedger_Remove(t *testing.T) {
	st := memstore.New()
	l := open(t, st, "one")
	put(t, l, "a", "a1", 1)
	put(t, l, "b", "b1", 1)
	for _, want := range []string{"a1", ""} {
		if got, err := l.Remove(t.Context(), "a"); got != want || err != nil {
			t.Errorf("removed %q, %v; want %q", got, err, want)
		}
	}
	if got := digests(open(t, st, "one")); got != "b:b1" || l.Holds("a1") {
		t.Errorf("left: %q", got)
	}
	if _, ok := l.Find("a"); ok {
		t.Error("still found")
	}
}

func TestOpen_AnotherLineageStartsEmpty(t *testing.T) {
	st := memstore.New()
	put(t, open(t, st, "one"), "a", "a1", 1)
	if got := digests(open(t, st, "two")); got != "" {
		t.Errorf("contributions %q", got)
	}
	if got := digests(open(t, st, "one")); got != "" {
		t.Errorf("came back: %q", got)
	}
}

func TestOpen_DamagedRecord(t *testing.T) {
	st := memstore.New()
	if _, err := st.Put(t.Context(), "ledger/pump/a", []byte("{"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), st, "pump", "one"); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("error %v", err)
	}
}
