package quarantine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/verify"
)

// fleet makes n honest updates of d parameters around a common direction, with
// the given ratio of noise to signal.
func fleet(r *rand.Rand, n, d int, noise float64) []*fedavg.Update {
	us := make([]*fedavg.Update, n)
	for k := range us {
		us[k] = &fedavg.Update{Agent: fmt.Sprintf("g%02d", k), Weight: 100, Vectors: []fedavg.Vector{{Name: "w", F32: make([]float32, d)}}}
		for i := range d {
			us[k].Vectors[0].F32[i] = float32(1 + noise*r.NormFloat64())
		}
	}
	return us
}

func scale(u *fedavg.Update, by float32) {
	for i := range u.Vectors[0].F32 {
		u.Vectors[0].F32[i] *= by
	}
}

func usual() Policy { return Policy{Policy: verify.DefaultPolicy(), ReleaseAfter: 5} }

func open(t *testing.T, st store.Store) *Book {
	t.Helper()
	b, err := Open(t.Context(), st, "pump", "lineage")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decide(t *testing.T, b *Book, round uint64, us []*fedavg.Update) Decision {
	t.Helper()
	d, err := b.Decide(t.Context(), Round{round, 1}, fedavg.Slice(us), verify.Deltas, usual())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBook_OffenderGoesInAndOutAfterCleanRounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	st := memstore.New()
	b := open(t, st)
	us := fleet(r, 6, 100, 0.4)
	scale(us[2], 1000)
	if d := decide(t, b, 1, us); len(d.Aside) != 1 || !strings.Contains(d.Aside["g02"], "times the fleet's usual") {
		t.Errorf("decision %+v", d)
	}
	for round := uint64(2); round <= 6; round++ { // five clean rounds, set aside all the same
		b = open(t, st) // a restart changes nothing
		d := decide(t, b, round, fleet(r, 6, 100, 0.4))
		if len(d.Aside) != 1 || !strings.Contains(d.Aside["g02"], "in quarantine since round 1") {
			t.Errorf("round %d: %+v", round, d)
		}
	}
	if got := b.Entries(); len(got) != 0 {
		t.Errorf("still in quarantine: %+v", got)
	}
	if d := decide(t, b, 7, fleet(r, 6, 100, 0.4)); len(d.Aside) != 0 {
		t.Errorf("after release: %+v", d)
	}
}

func TestBook_AnOffenceStartsTheCountAnew(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	b := open(t, memstore.New())
	for round := uint64(1); round <= 9; round++ {
		us := fleet(r, 6, 100, 0.4)
		if round%4 == 1 {
			scale(us[2], -1)
		}
		decide(t, b, round, us)
	}
	got := b.Entries()
	if len(got) != 1 || got[0].Gateway != "g02" || got[0].Round != 1 || got[0].Clean != 0 || got[0].Check != verify.CheckDirection {
		t.Errorf("entries %+v", got)
	}
}

// A late update may count beside the round's own: one verdict for both.
func TestBook_TwoUpdatesOfOneGateway(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	b := open(t, memstore.New())
	us := fleet(r, 6, 100, 0.4)
	scale(us[2], 1000)
	us[3].Agent = us[2].Agent // in order, but its other is not
	d := decide(t, b, 1, us)
	if got := b.Entries(); len(d.Aside) != 1 || !strings.Contains(d.Aside["g02"], "norm") || len(got) != 1 || got[0].Clean != 0 {
		t.Errorf("decision %+v, entries %+v", d, got)
	}
	us = fleet(r, 6, 100, 0.4)
	us[3].Agent = us[2].Agent
	decide(t, b, 2, us)
	if got := b.Entries(); len(got) != 1 || got[0].Clean != 1 {
		t.Errorf("entries %+v: two updates in a round are one clean round", got)
	}
}

// A round without anyone to compare with is no clean round.
func TestBook_ARoundThatSaysNothingIsNotClean(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	b := open(t, memstore.New())
	us := fleet(r, 6, 100, 0.4)
	scale(us[2], -1)
	decide(t, b, 1, us)
	for round := uint64(2); round <= 9; round++ {
		decide(t, b, round, fleet(r, 6, 100, 0.4)[:3])
	}
	if got := b.Entries(); len(got) != 1 || got[0].Clean != 0 {
		t.Errorf("entries %+v", got)
	}
}

// failing is a store whose next write fails, before or after it came to pass.
type failing struct {
	store.Store
	fail, apply bool
}

var errDisk = errors.New("disk full")

func (f *failing) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if !f.fail {
		return f.Store.Put(ctx, key, value, revision)
	}
	f.fail = false
	if f.apply {
		if _, err := f.Store.Put(ctx, key, value, revision); err != nil {
			return 0, err
		}
	}
	return 0, errDisk
}

// A decision is durable before it is told: whatever becomes of the write, the
// second asking gives the answer of the first, from other updates even.
func TestBook_DecidesOnceWhateverBecomesOfTheWrite(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, apply := range []bool{false, true} {
		st := &failing{Store: memstore.New(), fail: true, apply: apply}
		b := open(t, st)
		us := fleet(r, 6, 100, 0.4)
		scale(us[2], -1)
		if _, err := b.Decide(t.Context(), Round{1, 1}, fedavg.Slice(us), verify.Deltas, usual()); !errors.Is(err, errDisk) {
			t.Errorf("error %v", err)
		}
		if got := b.Entries(); len(got) != 0 {
			t.Errorf("shown before it is durable: %+v", got)
		}
		first := decide(t, b, 1, us)
		if len(first.Aside) != 1 {
			t.Errorf("decision %+v", first)
		}
		scale(us[3], -1)
		if again := decide(t, open(t, st), 1, us); !reflect.DeepEqual(again, first) {
			t.Errorf("decided %+v, then %+v", first, again)
		}
		if d := decide(t, b, 2, us); len(d.Aside) != 2 {
			t.Errorf("next round: %+v", d)
		}
	}
}

func TestBook_ByHand(t *testing.T) {
	st := memstore.New()
	b := open(t, st)
	o := verify.Offence{Check: verify.CheckUsable, Reason: "w[3] = NaN" + strings.Repeat("…", 300)}
	if err := b.Accuse(t.Context(), "g1", 7, o); err != nil {
		t.Fatal(err)
	}
	got := open(t, st).Entries()
	if len(got) != 1 || got[0].Round != 7 || got[0].Check != verify.CheckUsable || len(got[0].Reason) > maxReason || !strings.HasPrefix(got[0].Reason, "w[3] = NaN…") {
		t.Errorf("entries %+v", got)
	}
	if was, err := b.Release(t.Context(), "g1"); !was || err != nil {
		t.Errorf("release: %v, %v", was, err)
	}
	if was, err := b.Release(t.Context(), "g1"); was || err != nil {
		t.Errorf("second release: %v, %v", was, err)
	}
	if got := open(t, st).Entries(); len(got) != 0 {
		t.Errorf("entries %+v", got)
	}
}

// Another lineage has other norms, but a liar is a liar.
func TestBook_NewLineageForgetsWhatIsUsual(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	st := memstore.New()
	b := open(t, st)
	for round := uint64(1); round <= 30; round++ {
		us := fleet(r, 5, 50, 0.4)
		scale(us[0], 1000)
		decide(t, b, round, us)
	}
	if n := len(b.state.History); n != verify.MaxHistory {
		t.Errorf("%d rounds of history, want %d", n, verify.MaxHistory)
	}
	b, err := Open(t.Context(), st, "pump", "another")
	if err != nil {
		t.Fatal(err)
	}
	if len(b.state.History) != 0 || len(b.Entries()) != 1 {
		t.Errorf("history %v, entries %+v", b.state.History, b.Entries())
	}
}

func TestOpen_DamagedRecord(t *testing.T) {
	st := memstore.New()
	if _, err := st.Put(t.Context(), "quarantine/pump", []byte("{"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), st, "pump", "l"); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("error %v", err)
	}
}

// Thousands in quarantine do not outgrow a record: texts go first.
func TestBook_RecordStaysWithinItsBounds(t *testing.T) {
	st := memstore.New()
	b := open(t, st)
	s := state{Lineage: "lineage", Last: Decision{Round: Round{1, 1}, Aside: map[string]string{}}}
	for _, g := range fleetNames(4000) {
		o := verify.Offence{Check: verify.CheckNorm, Reason: strings.Repeat("x", maxReason)}
		s.Entries = append(s.Entries, Entry{Gateway: g, Round: 1, Offence: o})
		s.Last.Aside[g] = o.Reason
	}
	if err := b.write(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := open(t, st).Entries(); len(got) != 4000 || got[3999].Check != verify.CheckNorm {
		t.Errorf("%d entries", len(got))
	}
}

func fleetNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "gateway-with-a-long-name-in-hall-" + string(rune('a'+i%26)) + strings.Repeat("z", i%20)
	}
	return out
}
