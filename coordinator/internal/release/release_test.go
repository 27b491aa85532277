package release

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

func version(n uint64, lineage string) Version {
	return Version{Job: "pump", Version: n, Lineage: lineage, Spec: "s", Blob: store.Blob{SHA256: fmt.Sprintf("%064d", n), Size: n}}
}

func numbers(b *Book) []uint64 {
	var out []uint64
	for _, v := range b.All() {
		out = append(out, v.Version)
	}
	return out
}

func TestBook_LiveIsTheNewestOfTheLineage(t *testing.T) {
	ctx, st := t.Context(), memstore.New()
	b, err := Open(ctx, st, "pump")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Live("x"); ok {
		t.Error("an empty book has a live version")
	}
	for _, n := range []uint64{2, 1, 10} { // order of arrival does not matter
		v := version(n, "x")
		if err := b.Write(ctx, v); err != nil {
			t.Fatal(err)
		}
		b.Announce(v)
	}
	if v, ok := b.Live("x"); !ok || v.Version != 10 {
		t.Errorf("live = %+v, %t; want version 10", v, ok)
	}
	// Versions of features that are no longer used must not reach a gateway.
	if v, ok := b.Live("y"); ok {
		t.Errorf("live of another lineage = %+v", v)
	}
	again, err := Open(ctx, st, "pump")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.All(), again.All()); diff != "" {
		t.Errorf("after reopening: %s", diff)
	}
	if diff := cmp.Diff([]uint64{1, 2, 10}, numbers(again)); diff != "" {
		t.Error(diff)
	}
}

func TestBook_WriteTwiceChangesNothingAndReplacesWhenAsked(t *testing.T) {
	ctx, st := t.Context(), memstore.New()
	b, err := Open(ctx, st, "pump")
	if err != nil {
		t.Fatal(err)
	}
	v := version(1, "x")
	for range 2 {
		if err := b.Write(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	before, err := st.List(ctx, "job/pump/model/")
	if err != nil || len(before) != 1 {
		t.Fatalf("%d records, %v", len(before), err)
	}
	v.Blob.SHA256 = fmt.Sprintf("%064d", 99)
	if err := b.Write(ctx, v); err != nil {
		t.Fatal(err)
	}
	b.Announce(v)
	b.Announce(v)
	if !b.Holds(v.Blob.SHA256) || len(b.All()) != 1 {
		t.Errorf("book = %+v", b.All())
	}
}

func TestBook_PruneKeepsTheNewest(t *testing.T) {
	ctx, st := t.Context(), memstore.New()
	b, err := Open(ctx, st, "pump")
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 5; n++ {
		if err := b.Write(ctx, version(n, "x")); err != nil {
			t.Fatal(err)
		}
		b.Announce(version(n, "x"))
	}
	b.Announce(version(6, "x")) // named by the head, its record not written yet
	for range 2 {
		if err := b.Prune(ctx, 3); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint64{4, 5, 6}, numbers(b)); diff != "" {
		t.Error(diff)
	}
	if records, _ := st.List(ctx, "job/pump/model/"); len(records) != 2 {
		t.Errorf("%d records left, want 4 and 5", len(records))
	}
	if _, ok := b.Find(3); ok {
		t.Error("version 3 is still found")
	}
	if v, ok := b.Find(5); !ok || v.Version != 5 {
		t.Errorf("version 5: %+v, %t", v, ok)
	}
}

func TestOpen_DamagedRecordIsNamed(t *testing.T) {
	st := memstore.New()
	if _, err := st.Put(t.Context(), "job/pump/model/000000000001", []byte("{"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), st, "pump"); err == nil {
		t.Error("a damaged record was passed over")
	}
}
