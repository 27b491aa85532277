package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestClock_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := Start(10)
		if !c.Wait(t.Context(), 30*time.Second) || time.Since(begin) != 3*time.Second {
			t.Errorf("30 s at speed 10 took %v; want 3 s", time.Since(begin))
		}
		time.Sleep(time.Hour)
		c.Skip(time.Hour)
		c.Wait(t.Context(), 40*time.Second)
		if got := time.Since(begin) - time.Hour; got != 4*time.Second {
			t.Errorf("40 s at speed 10 took %v beside the skipped hour; want 4 s", got)
		}
		free := Start(0)
		before := time.Now()
		if !free.Wait(t.Context(), time.Hour) || time.Now() != before {
			t.Error("speed 0 waited")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if Start(1).Wait(ctx, time.Hour) {
			t.Error("Wait reported true after the end of ctx")
		}
	})
}
