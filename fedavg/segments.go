package fedavg

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// segment is a run of elements of one vector. Segments are summed one at a time
// over all updates, so that the sums stay in a core's own cache, and are long
// enough for the processor to read ahead in each update.
type segment struct {
	vector, from, to int
	// bound is at least the magnitude of every sum of a Float32 segment, in units,
	// or limit32 if that is not known. It spares looking at the sums until they
	// could overflow.
	bound uint64
}

const (
	segmentLen = 4096
	// runLen is how many segments a goroutine takes at a time.
	runLen = 2
	// parallelLen is how many elements make a second goroutine worthwhile.
	parallelLen = 1 << 15
)

// scratch belongs to one goroutine: the sums of the segment at hand as they were.
type scratch struct {
	f32 []int64
	f64 []fixed
}

// keep32 stores sums, so that they can be restored.
func (s *scratch) keep32(sums []int64) []int64 {
	s.f32 = append(s.f32[:0], sums...)
	return s.f32
}

func (s *scratch) keep64(sums []fixed) []fixed {
	s.f64 = append(s.f64[:0], sums...)
	return s.f64
}

// applyVectors adds or subtracts the vectors of us, all or none.
func (a *Accumulator) applyVectors(us []*Update, s sign) error {
	return a.eachSegment(len(us), func(seg *segment, old *scratch) error {
		return a.applySegment(seg, us, s, old)
	}, func(seg *segment) {
		if a.sums[seg.vector].f64 != nil {
			a.undo64(seg, us, s)
		} else {
			a.undo32(seg, us, s)
		}
	})
}

// applySegment adds or subtracts seg of us, or leaves it as it was.
func (a *Accumulator) applySegment(seg *segment, us []*Update, s sign, old *scratch) error {
	if a.sums[seg.vector].f64 != nil {
		return a.apply64(seg, us, s, old)
	}
	return a.apply32(seg, us, s, old)
}

// eachSegment calls do for every segment, with several goroutines if elements
// times cost is large. If one fails it calls undo for those that were done, and
// returns the error of the first segment that failed. Since segments are taken
// in order, that is the same one however many goroutines there are.
func (a *Accumulator) eachSegment(cost int, do func(*segment, *scratch) error, undo func(*segment)) error {
	size := a.layout.Size()
	workers := min(runtime.GOMAXPROCS(0), (len(a.segments)+runLen-1)/runLen, size/parallelLen*max(cost, 1)+1)
	w := work{a: a, do: do, failed: len(a.segments)}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(func() { w.run(new(scratch)) })
	}
	w.run(&a.scratch)
	wg.Wait()
	if w.err != nil {
		for _, i := range w.done {
			undo(&a.segments[i])
		}
	}
	return w.err
}

// work is what the goroutines of one eachSegment share.
type work struct {
	a    *Accumulator
	do   func(*segment, *scratch) error
	next atomic.Int64 // first segment not taken
	stop atomic.Bool

	mu     sync.Mutex
	done   []int // segments to undo
	failed int   // first segment that failed
	err    error
}

func (w *work) run(old *scratch) {
	var done []int
	for !w.stop.Load() {
		from := int(w.next.Add(runLen)) - runLen
		for i := from; i < min(from+runLen, len(w.a.segments)); i++ {
			if err := w.do(&w.a.segments[i], old); err != nil {
				w.fail(i, err)
				break
			}
			done = append(done, i)
		}
		if from >= len(w.a.segments) {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, done...)
}

func (w *work) fail(i int, err error) {
	w.stop.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if i < w.failed {
		w.failed, w.err = i, err
	}
}
