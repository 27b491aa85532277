package labels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func openBook(t *testing.T) (*Book, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "labels.json")
	return Open(path, quiet), path
}

func truth(b bool) *bool { return &b }

func put(t *testing.T, b *Book, l Label) Label {
	t.Helper()
	kept, err := b.Put(l)
	if err != nil {
		t.Fatalf("put %+v: %v", l, err)
	}
	return kept
}

func TestPut_FillsInWhatIsLeftOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := openBook(t)
		now := time.Now().UTC()
		failure := put(t, b, Label{Machine: "press-1", Kind: Failure})
		if !failure.At.Equal(now) || failure.ID == "" || !failure.Received.Equal(now) {
			t.Errorf("failure without a time is kept as %+v; want it at %v with an id", failure, now)
		}
		inspected := put(t, b, Label{Machine: "press-1", Kind: Healthy, From: now.Add(-time.Hour)})
		if !inspected.To.Equal(now) {
			t.Errorf("inspection without end lasts to %v, want %v: it says nothing of later", inspected.To, now)
		}
		verdict := put(t, b, Label{Machine: "press-1", Kind: Verdict, Episode: "e1", Right: truth(false)})
		if verdict.ID != "verdict-e1" || !verdict.To.IsZero() {
			t.Errorf("verdict is kept as %+v", verdict)
		}
	})
}

func TestPut_TwiceIsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := openBook(t)
		first := put(t, b, Label{ID: "WO-1", Machine: "press-1", Kind: Failure, Class: "bearing"})
		inspected := put(t, b, Label{ID: "WO-2", Machine: "press-1", Kind: Healthy, From: time.Now().Add(-time.Hour)})
		revision := b.Revision()
		time.Sleep(time.Hour)
		again := put(t, b, Label{ID: "WO-1", Machine: "press-1", Kind: Failure, Class: "bearing"})
		if again != first || put(t, b, Label{ID: "WO-2", Machine: "press-1", Kind: Healthy, From: inspected.From}) != inspected {
			t.Errorf("given again an hour later it is %+v, was %+v", again, first)
		}
		if b.Revision() != revision || len(b.All()) != 2 {
			t.Errorf("%d labels at revision %d; want 2 at %d", len(b.All()), b.Revision(), revision)
		}
		closed := put(t, b, Label{ID: "WO-1", Machine: "press-1", Kind: Failure, Class: "belt"})
		if list := b.Of("press-1"); len(list) != 2 || list[1].Class != "belt" || !closed.Received.Equal(first.Received) || b.Revision() == revision {
			t.Errorf("corrected to %+v; labels are %+v", closed, list)
		}
	})
}

func TestPut_TwiceWithoutAnIDIsOnceForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := openBook(t)
		failed := Label{Machine: "press-1", Kind: Failure, Order: "WO-1"}
		first := put(t, b, failed)
		time.Sleep(10 * time.Minute)
		if second := put(t, b, failed); second != first {
			t.Errorf("said again it is %+v, was %+v", second, first)
		}
		earlier := failed
		earlier.At = first.At.Add(-2 * time.Hour)
		second := put(t, b, earlier)
		earlier.At = earlier.At.Add(20 * time.Second) // "2h ago", said 20 s later
		if third := put(t, b, earlier); third != second || second == first {
			t.Errorf("said again it is %+v, was %+v", third, second)
		}
		other := failed
		other.Class = "belt"
		put(t, b, other)
		if n := len(b.All()); n != 3 {
			t.Errorf("%d labels, want 3", n)
		}
		time.Sleep(2 * time.Hour) // it failed again
		if later := put(t, b, failed); later.ID == first.ID {
			t.Error("what is said two hours later is about another failure")
		}
		if _, err := b.Withdraw(second.ID); err != nil {
			t.Fatal(err)
		}
		if again := put(t, b, earlier); again.ID == second.ID {
			t.Error("what was withdrawn can be said anew")
		}
	})
}

// A work order about two machines that is sent under one id must not take from the first
// what was said of it.
func TestPut_AnIDStaysWithItsMachine(t *testing.T) {
	b, _ := openBook(t)
	put(t, b, Label{ID: "WO-1", Machine: "press-1", Kind: Failure})
	if _, err := b.Put(Label{ID: "WO-1", Machine: "press-2", Kind: Failure}); err == nil || !strings.Contains(err.Error(), "press-1") {
		t.Errorf("of another machine: %v, want an error that names press-1", err)
	}
	if list := b.Of("press-1"); len(list) != 1 || len(b.Of("press-2")) != 0 {
		t.Errorf("press-1 has %+v, press-2 %+v", list, b.Of("press-2"))
	}
}

func TestWithdraw_StaysWithdrawn(t *testing.T) {
	b, _ := openBook(t)
	l := Label{ID: "WO-1", Machine: "press-1", Kind: Failure}
	put(t, b, l)
	for range 2 {
		if _, err := b.Withdraw("WO-1"); err != nil {
			t.Fatal(err)
		}
	}
	if list := b.Of("press-1"); len(list) != 0 {
		t.Errorf("withdrawn label counts: %+v", list)
	}
	if _, err := b.Put(l); !errors.Is(err, ErrWithdrawn) {
		t.Errorf("given again: %v, want ErrWithdrawn", err)
	}
	if _, err := b.Withdraw("WO-2"); !errors.Is(err, ErrUnknown) {
		t.Errorf("withdraw what is not there: %v, want ErrUnknown", err)
	}
	if list := b.All(); len(list) != 1 || !list[0].Withdrawn {
		t.Errorf("list of all is %+v", list)
	}
}

func TestOf_ByTime(t *testing.T) {
	b, _ := openBook(t)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	put(t, b, Label{ID: "late", Machine: "a", Kind: Failure, At: at.Add(time.Hour)})
	put(t, b, Label{ID: "early", Machine: "a", Kind: Fault, Class: "belt", From: at})
	put(t, b, Label{ID: "other", Machine: "b", Kind: Maintenance, At: at})
	list := b.Of("a")
	if len(list) != 2 || list[0].ID != "early" || list[1].ID != "late" {
		t.Fatalf("labels of a are %+v", list)
	}
	if b.All()[0].ID != "other" {
		t.Errorf("newest heard is %+v", b.All()[0])
	}
}

func TestPut_SharesNoMemory(t *testing.T) {
	b, _ := openBook(t)
	right := true
	kept := put(t, b, Label{Machine: "a", Kind: Verdict, Episode: "e", Right: &right})
	right, *kept.Right, *b.All()[0].Right, *b.Of("a")[0].Right = false, false, false, false
	if v, ok := b.VerdictOn("e"); !ok || !*v.Right {
		t.Errorf("verdict became %+v", v)
	}
}

func TestEnded_ClosesVerdictsGivenWhileItLasted(t *testing.T) {
	b, _ := openBook(t)
	from := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	put(t, b, Label{Machine: "a", Kind: Verdict, Episode: "e", Right: truth(true), From: from})
	put(t, b, Label{Machine: "a", Kind: Fault, Class: "belt", From: from})
	b.Ended("e", from.Add(time.Hour))
	b.Ended("e", from.Add(2*time.Hour))
	list := b.Of("a")
	if !list[0].To.Equal(from.Add(time.Hour)) || !list[1].To.IsZero() {
		t.Errorf("labels are %+v", list)
	}
}

func TestCheck_NamesFieldAndMend(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	hour := time.Hour
	for want, l := range map[string]Label{
		"machine is missing":                            {Kind: Failure, At: now},
		`kind is "broken"; it is one of failure, fault`: {Machine: "a", Kind: "broken"},
		"at is 2026-05-01T13:00:00Z, in the future":     {Machine: "a", Kind: Failure, At: now.Add(hour)},
		"at is in the year 1":                           {Machine: "a", Kind: Failure, At: time.Time{}.Add(1)},
		"from is 2026-05-01T11:00:00Z, after to":        {Machine: "a", Kind: Healthy, From: now.Add(-hour), To: now.Add(-2 * hour)},
		"from is missing":                               {Machine: "a", Kind: Fault, Class: "belt"},
		"class is missing":                              {Machine: "a", Kind: Fault, From: now},
		"class is of no use to kind maintenance":        {Machine: "a", Kind: Maintenance, At: now, Class: "belt"},
		"which has one time, at":                        {Machine: "a", Kind: Failure, From: now},
		"at is of no use to kind fault":                 {Machine: "a", Kind: Fault, Class: "belt", From: now, At: now},
		"episode is missing":                            {Machine: "a", Kind: Verdict, Right: truth(true)},
		"right is missing":                              {Machine: "a", Kind: Verdict, Episode: "e"},
		"class is of no use when the alarm was wrong":   {Machine: "a", Kind: Verdict, Episode: "e", Right: truth(false), Class: "belt"},
		"of a verdict only":                             {Machine: "a", Kind: Failure, At: now, Right: truth(true)},
		"note has 501 bytes":                            {Machine: "a", Kind: Failure, At: now, Note: strings.Repeat("x", 501)},
		"by is not UTF-8":                               {Machine: "a", Kind: Failure, At: now, By: "\xff"},
		"order holds control characters":                {Machine: "a", Kind: Failure, At: now, Order: "a\nb"},
		"id holds one of /":                             {ID: "a/b", Machine: "a", Kind: Failure, At: now},
	} {
		if err := l.Check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check says %v, want %q", err, want)
		}
	}
	fine := Label{ID: "WO 17", Machine: "a", Kind: Failure, At: now.Add(time.Minute), Class: "belt", Note: "two\nlines"}
	if err := fine.Check(now); err != nil {
		t.Errorf("a good label is refused: %v", err)
	}
}

func TestBook_ComesBack(t *testing.T) {
	b, path := openBook(t)
	put(t, b, Label{ID: "WO-1", Machine: "a", Kind: Failure, Class: "belt", Order: "4711", By: "Ada", Note: "torn"})
	put(t, b, Label{Machine: "a", Kind: Verdict, Episode: "e", Right: truth(false)})
	put(t, b, Label{ID: "gone", Machine: "a", Kind: Maintenance})
	if _, err := b.Withdraw("gone"); err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(b.All())
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	again := Open(path, quiet)
	if got, _ := json.Marshal(again.All()); string(got) != string(want) {
		t.Errorf("read back\n%s\nwant\n%s", got, want)
	}
	if _, err := again.Put(Label{ID: "gone", Machine: "a", Kind: Maintenance}); !errors.Is(err, ErrWithdrawn) {
		t.Errorf("after a restart a withdrawn label can be given again: %v", err)
	}
	if err := os.WriteFile(path, []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(path + ".previous")
	if list := Open(path, quiet).All(); len(list) != 0 {
		t.Errorf("a damaged file gave %+v", list)
	}
	if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
		t.Errorf("put aside: %v", aside)
	}
}

func TestRun_WritesWhatIsLeft(t *testing.T) {
	b, path := openBook(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	put(t, b, Label{ID: "WO-1", Machine: "a", Kind: Failure})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if list := Open(path, quiet).All(); len(list) != 1 {
		t.Errorf("on disk: %+v", list)
	}
}

func TestFlush_SaysWhenTheDiskFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := Open(filepath.Join(dir, "file", "labels.json"), quiet)
	put(t, b, Label{ID: "WO-1", Machine: "a", Kind: Failure})
	for range 2 { // the second still has it to write
		if err := b.Flush(); err == nil {
			t.Fatal("a file below a file was written")
		}
	}
	if err := os.Remove(filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	if list := Open(b.path, quiet).All(); len(list) != 1 {
		t.Errorf("on disk: %+v", list)
	}
}

func TestBook_Bounded(t *testing.T) {
	b, _ := openBook(t)
	for i := range MaxLabels {
		b.list = append(b.list, Label{ID: fmt.Sprint(i), Machine: "a", Kind: Maintenance, At: time.Unix(1e9, 0)})
	}
	b.list[7].Withdrawn = true
	put(t, b, Label{ID: "x", Machine: "a", Kind: Maintenance})
	if len(b.list) != MaxLabels || b.find("7") >= 0 || b.find("0") < 0 || b.Forgot() != 0 {
		t.Errorf("%d labels, %d forgotten: the withdrawn one must go first", len(b.list), b.Forgot())
	}
	put(t, b, Label{ID: "y", Machine: "a", Kind: Maintenance})
	if len(b.list) != MaxLabels || b.find("0") >= 0 || b.Forgot() != 1 {
		t.Errorf("%d labels, %d forgotten: then the oldest", len(b.list), b.Forgot())
	}
}

func TestDecode_Errors(t *testing.T) {
	for body, want := range map[string]string{
		``:                                     "it is empty",
		`{`:                                    "not a JSON object",
		`[1]`:                                  "not a JSON object",
		`{"machin": "a"}`:                      `did you mean "machine"?`,
		`{"colour": "red"}`:                    "it has id, machine",
		`{"machine": 1}`:                       "machine is a number; it must be text",
		`{"right": "yes"}`:                     "right is a string; it must be true or false",
		`{"at": "yesterday"}`:                  `at is "yesterday"; write a time with its zone`,
		`{"from": "2026-05-01T12:00:00"}`:      "from is",
		`{"machine": "a"} {"machine": "b"}`:    "something follows",
		`{"machine": "a",}`:                    "not JSON from byte",
		`{"received": "2026-05-01T12:00:00Z"}`: `no key "received"`,
		`{"withdrawn": true}`:                  `no key "withdrawn"`,
		`"` + strings.Repeat("x", MaxBytes) + `"`: "the most is",
	} {
		if _, err := Decode([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decode %.40s: %v, want %q", body, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"WO-1","machine":"a","kind":"failure","class":"belt","at":"2026-05-01T12:00:00+02:00","order":"4711"}`,
		`{"machine":"a","kind":"verdict","episode":"e","right":false}`,
		`{"machine":"a","kind":"fault","class":"belt","from":"0001-01-01T00:00:00Z","to":"9999-12-31T23:59:59Z"}`,
		`{"Machine":"a","machine":"b","right":null}`, `null`, `{"at":"2026-05-01T12:00:00Z"`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := Decode(body)
		if err != nil {
			return
		}
		l.fill(now)
		if l.Check(now) != nil {
			return
		}
		// What is good is kept and comes back.
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatalf("label %+v cannot be written: %v", l, err)
		}
		again, err := Decode(text)
		if err != nil || !again.same(l) {
			t.Fatalf("%s came back as %+v (%v)", text, again, err)
		}
	})
}
