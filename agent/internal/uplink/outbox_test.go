package uplink

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func newOutbox(t *testing.T, dir string) (*outbox, map[string]error) {
	t.Helper()
	o, bad, err := openOutbox(dir)
	if err != nil {
		t.Fatal(err)
	}
	return o, bad
}

func tasks(es []entry) (out []task) {
	for _, e := range es {
		out = append(out, e.task)
	}
	return out
}

func TestOutbox_SurvivesRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outbox")
	o, _ := newOutbox(t, dir)
	for _, k := range []task{{"b", 9, 1}, {"a", 10, 2}, {"a", 10, 1}} {
		if err := o.put(k, "base", []byte("blob of "+k.Job)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.put(task{"b", 9, 1}, "base", []byte("another")); err == nil {
		t.Error("a second update for the same task was taken")
	}
	o, bad := newOutbox(t, dir)
	if len(bad) != 0 {
		t.Errorf("found bad: %v", bad)
	}
	want := []task{{"b", 9, 1}, {"a", 10, 1}, {"a", 10, 2}} // 9 before 10: by number, not by text
	if got := tasks(o.list()); !slices.Equal(got, want) {
		t.Fatalf("after a restart: %v, want %v", got, want)
	}
	e := o.list()[0]
	r, err := o.open(e)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if blob, err := io.ReadAll(r); err != nil || string(blob) != "blob of b" {
		t.Errorf("blob is %q, %v", blob, err)
	}
	if err := o.verify(e); err != nil {
		t.Error(err)
	}
	if err := o.drop(e); err != nil {
		t.Fatal(err)
	}
	if o, _ = newOutbox(t, dir); len(o.list()) != 2 {
		t.Errorf("a dropped update came back: %v", o.list())
	}
}

func TestOutbox_RemembersTheLastOfEachJob(t *testing.T) {
	dir := t.TempDir()
	o, _ := newOutbox(t, dir)
	for round := range uint64(3) {
		k := task{"a", round + 1, 1}
		if err := o.put(k, "base", []byte{byte(round)}); err != nil {
			t.Fatal(err)
		}
		if err := o.received(o.list()[0]); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 {
		t.Errorf("%d files are kept of one job", len(files))
	}
	o, _ = newOutbox(t, dir)
	if len(o.list()) != 0 {
		t.Fatalf("a received update is offered again: %v", o.list())
	}
	if o.claim(task{"a", 3, 2}, "base") || o.claim(task{"a", 3, 1}, "other base") || o.claim(task{"a", 2, 1}, "base") {
		t.Error("an update was claimed for another task")
	}
	if !o.claim(task{"a", 3, 1}, "base") || len(o.list()) != 1 {
		t.Error("the update of the same task was not found")
	}
	if !o.claim(task{"a", 3, 1}, "base") || len(o.list()) != 1 {
		t.Error("a pending update was not found, or doubled")
	}
	if o.claim(task{"a", 3, 1}, "other base") || len(o.list()) != 0 {
		t.Error("an update from another base must give way")
	}
}

func TestOutbox_TornFiles(t *testing.T) {
	dir := t.TempDir()
	o, _ := newOutbox(t, dir)
	blob := bytes.Repeat([]byte("0123456789"), 1000)
	for round := range uint64(6) {
		if err := o.put(task{"a", round, 1}, "base", blob); err != nil {
			t.Fatal(err)
		}
	}
	name := func(round string) string { return filepath.Join(dir, "a."+round+".1.update") }
	change := func(round string, f func([]byte) []byte) {
		if err := os.WriteFile(name(round), f(mustRead(t, name(round))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("1", func(b []byte) []byte { return b[:len(b)-7] })
	change("2", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	change("3", func([]byte) []byte { return nil })
	change("4", func(b []byte) []byte { return append([]byte("{}"), b...) })
	if err := os.Rename(name("5"), name("7")); err != nil { // not what it says it is
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".tmp-123"), blob, 0o600); err != nil {
		t.Fatal(err)
	}
	o, bad := newOutbox(t, dir)
	if got := tasks(o.list()); !slices.Equal(got, []task{{"a", 0, 1}}) {
		t.Errorf("whole updates: %v", got)
	}
	if len(bad) != 5 || !strings.Contains(bad["a.1.1.update"].Error(), "torn") || !strings.Contains(bad["a.2.1.update"].Error(), "damaged") {
		t.Errorf("bad files: %v", bad)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
}

// A file damaged after it was read is noticed before it is offered.
func TestOutbox_DamagedLater(t *testing.T) {
	r, k := joined(t)
	r.kill()
	r.eventually("loss of the connection", func() bool { return !r.up.State().Connected })
	_ = k
	box := r.up.box.Load()
	if err := box.put(task{"pump", 1, 1}, "base", []byte("update")); err != nil {
		t.Fatal(err)
	}
	path := r.file("outbox/pump.1.1.update")
	if err := os.WriteFile(path, append(mustRead(t, path), 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.eventually("dropped update", func() bool { return r.up.State().UpdatesDropped[dropDamaged] == 1 })
	r.outboxEmpty()
	if r.update(task{"pump", 1, 1}) != nil {
		t.Error("a damaged update was sent")
	}
}

func FuzzReadEntry(f *testing.F) {
	dir := f.TempDir()
	o, _, err := openOutbox(dir)
	if err != nil {
		f.Fatal(err)
	}
	if err := o.put(task{"a", 1, 1}, "base", []byte("blob")); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "a.1.1.update"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("{}\n"))
	f.Add([]byte("{\"job\":\"../x\",\"size\":18446744073709551615}\nblob"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.1.1.update"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		o, bad, err := openOutbox(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.list())+len(bad) != 1 {
			t.Fatalf("file is neither good nor bad: %v, %v", o.list(), bad)
		}
		for _, e := range o.list() {
			r, err := o.open(e)
			if err != nil || e.task != (task{"a", 1, 1}) {
				t.Fatalf("%+v: %v", e, err)
			}
			blob, _ := io.ReadAll(r)
			r.Close()
			if uint64(len(blob)) != e.Size || !bytes.HasSuffix(data, blob) {
				t.Fatalf("blob is %q", blob)
			}
		}
	})
}
