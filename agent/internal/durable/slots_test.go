package durable

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func openSlots(t testing.TB, path string) (s *Slots, body string, mark int64, damage error) {
	t.Helper()
	s, b, mark, damage, err := OpenSlots(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.file.Close() })
	return s, string(b), mark, damage
}

func TestSlots_NewestHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counts")
	s, body, mark, damage := openSlots(t, path)
	if body != "" || mark != 0 || damage != nil {
		t.Errorf("a new file holds %q, %d, %v", body, mark, damage)
	}
	for i := range 5 {
		if err := errors.Join(s.Write(fmt.Appendf(nil, "body %d", i)), s.Mark(int64(i)<<40)); err != nil {
			t.Fatal(err)
		}
		// Nothing was synced or closed, as after kill -9.
		_, body, mark, damage := openSlots(t, path)
		if want := fmt.Sprintf("body %d", i); body != want || mark != int64(i)<<40 || damage != nil {
			t.Errorf("after write %d: %q, %d, %v", i, body, mark, damage)
		}
	}
	if err := s.Write(make([]byte, MaxSlotBody+1)); err == nil {
		t.Error("a body beyond a slot is taken")
	}
	if err := s.Write(bytes.Repeat([]byte("x"), MaxSlotBody)); err != nil {
		t.Error(err)
	}
	if _, body, _, damage := openSlots(t, path); len(body) != MaxSlotBody || damage != nil {
		t.Errorf("%d bytes, %v", len(body), damage)
	}
}

// Whatever a power cut leaves of the newest write, the one before holds and the damage is
// told.
func TestSlots_TornWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counts")
	s, _, _, _ := openSlots(t, path)
	for _, body := range []string{"older body", "newer body"} { // in slots 1 and 0
		if err := errors.Join(s.Write([]byte(body)), s.Mark(7)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range slotHead + len("newer body") {
		torn := bytes.Clone(whole)
		clear(torn[slotBytes+cut : 2*slotBytes]) // the rest of the sector was zero
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		_, body, mark, damage := openSlots(t, path)
		if body != "older body" || mark != 7 || (damage == nil) != (cut == 0) {
			t.Errorf("cut after %d bytes: %q, %d, %v", cut, body, mark, damage)
		}
	}
	for size := range int64(len(whole)) {
		if size%97 != 0 {
			continue
		}
		if err := errors.Join(os.WriteFile(path, whole, 0o600), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
		s, body, _, damage := openSlots(t, path)
		if size > 0 && !errors.Is(damage, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", size, damage)
		}
		if size >= 2*slotBytes && body != "newer body" {
			t.Errorf("cut to %d bytes: %q", size, body)
		}
		if err := s.Write([]byte("next")); err != nil {
			t.Fatal(err)
		}
		if _, body, _, damage := openSlots(t, path); body != "next" || damage != nil {
			t.Errorf("after a cut to %d bytes: %q, %v", size, body, damage)
		}
	}
}

func FuzzOpenSlots(f *testing.F) {
	path := filepath.Join(f.TempDir(), "counts")
	s, _, _, _ := openSlots(f, path)
	if err := errors.Join(s.Write([]byte("body")), s.Mark(5)); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{})
	f.Add(whole[:slotBytes+5])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "counts")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, _, _, err := OpenSlots(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Write([]byte("next")), s.Close()); err != nil {
			t.Fatal(err)
		}
		s, body, _, _, err := OpenSlots(path)
		if err != nil || string(body) != "next" {
			t.Fatalf("%q, %v", body, err)
		}
		_ = s.Close()
	})
}
