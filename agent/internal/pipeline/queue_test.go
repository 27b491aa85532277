package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

func samplesOf(n int) sensors.Block { return sensors.Block{Samples: make([]float64, n)} }

// A machine that takes its queue now and then gets every block of a burst that is many
// times as large as the queue.
func TestQueue_BurstIsNotLostOnABusyMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		const blocks = 5*maxQueuedBlocks + 7
		go func() {
			for range blocks {
				if !q.put(samplesOf(1)) {
					t.Error("a block of the burst was dropped")
				}
			}
		}()
		taken := 0
		var batch []sensors.Block
		for taken < blocks {
			<-q.wake
			time.Sleep(900 * time.Millisecond) // busy with the batch before
			batch = q.take(batch)
			taken += len(batch)
			for range batch {
				q.done(1)
			}
		}
		if received, dropped, waiting := q.counts(); received != blocks || dropped != 0 || waiting != 0 {
			t.Errorf("%d received, %d dropped, %d waiting; want all %d received", received, dropped, waiting, blocks)
		}
	})
}

// A machine that takes nothing costs whoever feeds it one second, once, and not one
// each block; when it goes on, it gets blocks again.
func TestQueue_StuckMachineHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, well := newQueue(), newQueue()
		began := time.Now()
		const blocks = maxQueuedBlocks + 1000
		for range blocks {
			stuck.put(samplesOf(1))
			if !well.put(samplesOf(1)) {
				t.Fatal("the other machine lost a block")
			}
			well.take(nil)
			well.done(1)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("the stuck machine held up its feeder for %v, want %v", took, patience)
		}
		if received, dropped, waiting := stuck.counts(); received != blocks || dropped != 1000 || waiting != maxQueuedBlocks {
			t.Errorf("%d received, %d dropped, %d waiting", received, dropped, waiting)
		}
		batch := stuck.take(nil)
		if !stuck.put(samplesOf(1)) {
			t.Error("a block was dropped although there is room again")
		}
		if _, _, waiting := stuck.counts(); waiting != int64(len(batch)+1) {
			t.Errorf("%d waiting, want the %d in hand and one", waiting, len(batch))
		}
	})
}

// Several sources may wait at once; each gets its room.
func TestQueue_SeveralWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.put(samplesOf(maxQueuedSamples))
		results := make(chan bool, 3)
		for range 3 {
			go func() { results <- q.put(samplesOf(maxQueuedSamples / 4)) }()
		}
		time.Sleep(patience / 2)
		q.take(nil)
		for range 3 {
			if !<-results {
				t.Error("a block was dropped although there was room in time")
			}
		}
	})
}
