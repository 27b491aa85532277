package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
)

func testCompareAndSet(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	if _, err := s.Get(ctx, "job/pump/head"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get of nothing: %v, want ErrNotFound", err)
	}
	_, err := s.Put(ctx, "job/pump/head", []byte("x"), 7)
	wantConflict(t, err, "job/pump/head", 0, 7)

	first := mustPut(t, s, "job/pump/head", "one", 0)
	wantRecord(t, s, "job/pump/head", "one", first)
	_, err = s.Put(ctx, "job/pump/head", []byte("x"), 0)
	wantConflict(t, err, "job/pump/head", first, 0)

	second := mustPut(t, s, "job/pump/head", "two", first)
	if second == first {
		t.Fatalf("two writes have the same revision %d", first)
	}
	_, err = s.Put(ctx, "job/pump/head", []byte("x"), first)
	wantConflict(t, err, "job/pump/head", second, first)
	wantRecord(t, s, "job/pump/head", "two", second)

	// Writing the same value again is a write.
	if third := mustPut(t, s, "job/pump/head", "two", second); third == second {
		t.Fatal("a write of the same value kept the revision")
	}
	if _, err := s.Get(ctx, "job/pump"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get of a prefix: %v, want ErrNotFound", err)
	}
}

func testLimits(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	empty := mustPut(t, s, "empty", "", 0)
	wantRecord(t, s, "empty", "", empty)

	full := Content(1, store.MaxRecordBytes)
	rev := mustPut(t, s, "full", string(full), 0)
	wantRecord(t, s, "full", string(full), rev)

	_, err := s.Put(ctx, "over", make([]byte, store.MaxRecordBytes+1), 0)
	var tooBig *store.SizeError
	if !errors.As(err, &tooBig) || tooBig.Key != "over" || tooBig.Got != store.MaxRecordBytes+1 || tooBig.Max != store.MaxRecordBytes {
		t.Fatalf("Put of too much: %v, want a SizeError", err)
	}
	if _, err := s.Get(ctx, "over"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a refused record is there: %v", err)
	}
}

func testKeys(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	for _, key := range []string{"a", "A/b-c_d=9.x", strings.Repeat("k", store.MaxKeyBytes)} {
		rev := mustPut(t, s, key, key, 0)
		wantRecord(t, s, key, key, rev)
	}
	for _, key := range []string{"", "/a", "a/", ".a", "a.", "a b", "a\x00", "ü", "a*", "a>", strings.Repeat("k", store.MaxKeyBytes+1)} {
		_, err := s.Put(ctx, key, nil, 0)
		var bad *store.KeyError
		if !errors.As(err, &bad) {
			t.Errorf("Put(%q): %v, want a KeyError", key, err)
		}
		if _, err := s.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(%q): %v, want ErrNotFound", key, err)
		}
	}
}

func testCopies(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	value := []byte("value")
	rev, err := s.Put(ctx, "k", value, 0)
	if err != nil {
		t.Fatal(err)
	}
	value[0] = 'X'
	wantRecord(t, s, "k", "value", rev)
	r, err := s.Get(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	r.Value[0] = 'Y'
	list, err := s.List(ctx, "")
	if err != nil || len(list) != 1 {
		t.Fatalf("List: %v, %v", list, err)
	}
	list[0].Value[0] = 'Z'
	wantRecord(t, s, "k", "value", rev)
}

func testConcurrentOneWins(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	rev := mustPut(t, s, "head", "before", 0)
	const writers = 32
	revisions, errs := make([]uint64, writers), make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { revisions[i], errs[i] = s.Put(ctx, "head", []byte(strconv.Itoa(i)), rev) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		var conflict *store.ConflictError
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("writers %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.As(err, &conflict):
			t.Fatalf("writer %d: %v, want a ConflictError", i, err)
		case conflict.Want != rev || conflict.Got == rev:
			t.Fatalf("writer %d: conflict %+v", i, *conflict)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	wantRecord(t, s, "head", strconv.Itoa(winner), revisions[winner])
}

// testConcurrentCounter: read, add one, compare-and-set, retry on conflict. No
// increment may get lost.
func testConcurrentCounter(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	mustPut(t, s, "n", "0", 0)
	const workers, each = 8, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				r, err := s.Get(ctx, "n")
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(r.Value))
				_, err = s.Put(ctx, "n", []byte(strconv.Itoa(n+1)), r.Revision)
				var conflict *store.ConflictError
				switch {
				case err == nil:
					done++
				case !errors.As(err, &conflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r, err := s.Get(ctx, "n")
	if err != nil || string(r.Value) != strconv.Itoa(workers*each) {
		t.Fatalf("counter is %s, %v; want %d", r.Value, err, workers*each)
	}
}

func testDelete(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	wantConflict(t, s.Delete(ctx, "k", 3), "k", 0, 3)
	rev := mustPut(t, s, "k", "v", 0)
	wantConflict(t, s.Delete(ctx, "k", rev+1), "k", rev, rev+1)
	wantConflict(t, s.Delete(ctx, "k", 0), "k", rev, 0)
	wantRecord(t, s, "k", "v", rev)
	if err := s.Delete(ctx, "k", rev); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get after Delete: %v, want ErrNotFound", err)
	}
	wantConflict(t, s.Delete(ctx, "k", rev), "k", 0, rev)
}

func testRevisions(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	seen := map[uint64]bool{}
	for i := range 6 {
		rev := mustPut(t, s, "k", "v", 0)
		if seen[rev] {
			t.Fatalf("revision %d came again after Delete", rev)
		}
		seen[rev] = true
		if err := s.Delete(ctx, "k", rev); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			s = subject.reopen(t, s)
		}
	}
}

func testList(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	for _, key := range []string{"b", "a/2", "a/10", "a", "ab", "a/1/x", "B", "a-b"} {
		mustPut(t, s, key, "of "+key, 0)
	}
	for prefix, want := range map[string]string{
		"":      "B a a-b a/1/x a/10 a/2 ab b", // byte order
		"a":     "a a-b a/1/x a/10 a/2 ab",
		"a/":    "a/1/x a/10 a/2",
		"a/1":   "a/1/x a/10",
		"c":     "",
		"a/2/":  "",
		"\xff/": "",
	} {
		list, err := s.List(ctx, prefix)
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		var keys []string
		for _, r := range list {
			keys = append(keys, r.Key)
			wantRecord(t, s, r.Key, "of "+r.Key, r.Revision)
			if string(r.Value) != "of "+r.Key {
				t.Fatalf("List(%q) has %q at %q", prefix, r.Value, r.Key)
			}
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("List(%q) = %s, want %s", prefix, got, want)
		}
	}
}

// testModel compares a seeded run of random changes with a map.
func testModel(t *testing.T, subject Subject) {
	s, ctx := subject.open(t), context.Background()
	rng := rand.New(rand.NewPCG(20, 26))
	model := map[string]store.Record{}
	for step := range 200 {
		key := fmt.Sprintf("k%d", rng.IntN(8))
		held := model[key]
		revision := held.Revision
		if rng.IntN(4) == 0 {
			revision = uint64(rng.IntN(300))
		}
		switch rng.IntN(10) {
		case 0, 1, 2:
			err := s.Delete(ctx, key, revision)
			switch {
			case revision != held.Revision:
				wantConflict(t, err, key, held.Revision, revision)
			case err != nil:
				t.Fatalf("step %d: Delete: %v", step, err)
			default:
				delete(model, key)
			}
		default:
			value := fmt.Sprintf("value %d", step)
			next, err := s.Put(ctx, key, []byte(value), revision)
			switch {
			case revision != held.Revision:
				wantConflict(t, err, key, held.Revision, revision)
			case err != nil:
				t.Fatalf("step %d: Put: %v", step, err)
			default:
				model[key] = store.Record{Key: key, Value: []byte(value), Revision: next}
			}
		}
		if step%67 == 66 {
			s = subject.reopen(t, s)
		}
		list, err := s.List(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(model))
		if len(list) != len(keys) {
			t.Fatalf("step %d: %d records, want %d", step, len(list), len(keys))
		}
		for i, k := range keys {
			if want := model[k]; list[i].Key != k || string(list[i].Value) != string(want.Value) || list[i].Revision != want.Revision {
				t.Fatalf("step %d: record %d is %+v, want %+v", step, i, list[i], want)
			}
		}
	}
}
