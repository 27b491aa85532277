package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestGate_Waits: with all places taken the next one waits until one is given back.
func TestGate_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, time.Hour)
		leave, _ := g.enter(t.Context())
		other, _ := g.enter(t.Context())
		entered := false
		go func() {
			last, err := g.enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			entered = true
			last()
		}()
		synctest.Wait()
		if entered {
			t.Fatal("three are in two places")
		}
		leave()
		leave() // once more changes nothing
		synctest.Wait()
		if !entered {
			t.Fatal("the place given back was not taken")
		}
		other()
		if n := len(g.places); n != 0 {
			t.Fatalf("%d places are taken at the end", n)
		}
	})
}

// TestGate_Patience: those who are slow stand in nobody's way, and giving back what
// they no longer hold takes nobody's place.
func TestGate_Patience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, time.Second)
		slow, _ := g.enter(t.Context())
		began := time.Now()
		next, err := g.enter(t.Context())
		if err != nil || time.Since(began) != time.Second {
			t.Fatalf("entered after %v: %v", time.Since(began), err)
		}
		slow()
		if n := len(g.places); n != 1 {
			t.Fatalf("%d places are taken, want that of the second", n)
		}
		next()
	})
}

func TestGate_GivesUp(t *testing.T) {
	g := newGate(1, time.Hour)
	leave, _ := g.enter(t.Context())
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("enter without a place: %v", err)
	}
}
