package rpc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestGate_Order: with all places taken the others wait until one is given back;
// uploads go first, and otherwise who came first.
func TestGate_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, time.Hour)
		one, _ := g.enter(t.Context(), download)
		other, _ := g.enter(t.Context(), upload)
		var order []int
		for i, d := range []direction{download, download, upload, upload} {
			go func() {
				leave, err := g.enter(t.Context(), d)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i) // one after the other: each leaves only then
				leave()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatalf("%v entered a full house", order)
		}
		one()
		one() // once more changes nothing
		synctest.Wait()
		if want := []int{2, 3, 0, 1}; !slices.Equal(order, want) {
			t.Fatalf("they entered in the order %v, want %v", order, want)
		}
		other()
		if g.free != 2 {
			t.Fatalf("%d places are free in the end, want 2", g.free)
		}
	})
}

// TestGate_Patience: those who are slow stand in nobody's way, and giving back what
// they no longer hold takes nobody's place.
func TestGate_Patience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Second)
		slow, _ := g.enter(t.Context(), upload)
		began := time.Now()
		next, err := g.enter(t.Context(), download)
		if err != nil || time.Since(began) != time.Second {
			t.Fatalf("entered after %v: %v", time.Since(began), err)
		}
		slow()
		if g.free != 0 {
			t.Fatalf("%d places are free, but the second is in", g.free)
		}
		next()
		if g.free != 1 {
			t.Fatalf("%d places are free in the end, want 1", g.free)
		}
	})
}

// TestGate_GivesUp: whoever gives up waiting takes no place, also if his turn comes
// at that moment.
func TestGate_GivesUp(t *testing.T) {
	g := newGate(1, time.Hour)
	leave, _ := g.enter(t.Context(), upload)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx, download); !errors.Is(err, context.Canceled) {
		t.Fatalf("enter without a place: %v", err)
	}
	turn := g.queue(download)
	leave()
	<-turn
	g.giveUp(download, turn)
	if g.free != 1 || len(g.waiting[upload])+len(g.waiting[download]) != 0 {
		t.Fatalf("%d places are free, %v wait", g.free, g.waiting)
	}
}
