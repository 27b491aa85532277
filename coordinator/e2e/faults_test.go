package e2e

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/store/boltstore"
)

// A store that lost its end, or whose last pages are not what was written, is
// refused by name with what to do, and left as it was found.
func TestFaults_TornStore(t *testing.T) {
	h := newHeadquarters(t, t.TempDir(), jobs(eachRoundNeedsAll))
	h.start()
	h.stop()
	path := filepath.Join(h.dir, boltstore.FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	used := len(bytes.TrimRight(whole, "\x00")) // the file is longer than what is in it
	tearAt := (used - 1) / page * page          // the last page written to
	for name, torn := range map[string][]byte{
		"last page cut off":    whole[:tearAt],
		"cut within a page":    whole[:tearAt+100],
		"half of it":           whole[:len(whole)/2/page*page],
		"last page torn":       slices.Concat(whole[:tearAt+16], make([]byte, len(whole)-tearAt-16)),
		"both meta pages gone": slices.Concat(make([]byte, 2*page), whole[2*page:]),
		"empty":                {},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			h.log = &logBook{}
			if h.launch() == nil { // what was torn may have been free
				if !slices.Contains([]string{"last page torn", "half of it", "cut within a page", "last page cut off"}, name) {
					t.Error("it started")
				}
				if s := h.snapshot(); len(s.Jobs) != 2 {
					t.Errorf("it started with jobs %+v", s.Jobs)
				}
				h.stop()
				return
			}
			err := <-h.ended
			h.process = nil
			if err == nil {
				t.Error("it ended without an error")
			}
			if said := h.log.String(); !strings.Contains(said, path) || !strings.Contains(said, "is damaged") || !strings.Contains(said, "restore it from a backup") {
				t.Errorf("it said:\n%s", said)
			}
			left, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(left, torn) {
				t.Errorf("the file was changed: %d bytes, were %d; %v", len(left), len(torn), err)
			}
		})
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	h.t = t
	h.start()
	h.stop()
}

// A second coordinator on a store is refused, and harms the first in nothing.
func TestFaults_StoreOpenedTwice(t *testing.T) {
	h := newHeadquarters(t, t.TempDir(), jobs(eachRoundNeedsAll))
	h.start()
	second := newHeadquarters(t, t.TempDir(), h.jobs)
	second.dir = h.dir
	if second.launch() == nil {
		t.Fatal("a second coordinator runs on the same store")
	}
	if err := <-second.ended; err == nil || !strings.Contains(second.log.String(), boltstore.ErrInUse.Error()) {
		t.Errorf("it ended with %v and said:\n%s", err, second.log)
	}
	second.process = nil
	h.token(1) // which writes
	h.stop()
}

// What goes wrong around the processes costs time and changes nothing about what
// is committed.
func TestFaults_CommitTheSameModels(t *testing.T) {
	f := prepared(t, jobs(eachRoundNeedsAll))
	want := undisturbed(t, f)
	faults := make(chan fault, 3)
	faults <- fault{"full disk", fullDisk}
	faults <- fault{"network cut", networkCut}
	faults <- fault{"half-open connection", halfOpen}
	close(faults)
	each(3, faults, func(x fault) {
		t.Run(x.name, func(t *testing.T) {
			w := f.again(t)
			x.happens(t, w)
			w.same(want, w.committed())
			w.verify()
			w.rest()
		})
	})
}

type fault struct {
	name    string
	happens func(*testing.T, *world)
}

// A full disk stops rounds and loses nothing: when there is room again they go on
// and commit what they would have.
func fullDisk(t *testing.T, w *world) {
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=24m"); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("a small file system to fill can be mounted by root only")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.kill()
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	copyTree(t, filepath.Join(small, "hq"), w.dir)
	w.dir = filepath.Join(small, "hq")
	w.start()
	ballast, err := os.Create(filepath.Join(small, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for piece := make([]byte, 4096); ; {
		if _, err := ballast.Write(piece); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := ballast.Close(); err != nil {
		t.Fatal(err)
	}
	for _, g := range w.gateways {
		g.start()
	}
	eventually(t, "the coordinator to complain", func() bool {
		return strings.Contains(w.log.String(), "no space left on device")
	}, w.log.tail)
	for _, g := range w.gateways { // whom it hears and answers all the same
		eventually(t, "gateway "+g.cfg.Gateway+" to be connected", func() bool { return g.status().Coordinator.Connected })
	}
	if v := versions(w.snapshot()); v["pump-gaussian"]+v["pump-autoencoder"] == 2*killedRounds {
		t.Error("all rounds were committed before the disk was full")
	}
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
}

// Connections cut at every stage, from the handshake to the middle of a round,
// cost time and nothing else.
func networkCut(t *testing.T, w *world) {
	w.start()
	w.relay.cutAfter(500, 1500, 2500, 3500, 4500, 5500, 6500)
	for _, g := range w.gateways {
		g.start()
	}
	eventually(t, "five cuts", func() bool { return w.relay.cutSoFar() >= 5 })
}

// A gateway whose power fails leaves a connection that the coordinator believes
// in. When it is back, its new session takes the old one's place at once.
func halfOpen(t *testing.T, w *world) {
	w.start()
	v := w.victim(1)
	w.relay.keep()
	v.start("trained") // dies in the middle of the first round
	for i, g := range w.gateways {
		if i != 1 {
			g.start()
		}
	}
	if !v.dies() {
		t.FailNow()
	}
	w.waitFor("a round that waits for the dead gateway", func(s fleet.Snapshot) bool {
		return slices.ContainsFunc(s.Rounds, func(r fleet.Round) bool { return r.State == "open" && len(receivedFrom(r)) == 2 })
	})
	if i := slices.IndexFunc(w.snapshot().Gateways, func(g fleet.Gateway) bool { return g.Name == "hall-2" && g.Connected }); i < 0 {
		t.Error("the coordinator has noticed that the gateway is gone; the connection is not half open")
	}
	v.start("")
}
