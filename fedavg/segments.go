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
	name             string // of the vector
	vector, from, to int
	// bound is at least the magnitude of every sum of a Float32 segment, in units,
	// or doubt32 if that is not known. It spares looking at the sums until they
	// could overflow.
	bound uint64
	start int // where columns put it: its place in a row of a block, or among all segments
}

const (
	segmentLen = 4096
	// runLen is how many segments a goroutine takes at a time.
	runLen = 2
	// parallelLen is how many elements make a second goroutine worthwhile.
	parallelLen = 1 << 15
)

// scratch belongs to one goroutine.
type scratch struct {
	f32  []int64 // the sums of the segment at hand as they were
	f64  []fixed
	sums []int64 // sums that nobody keeps

	rows [][]float32 // of the updates, see columns
	keys []int32     // see sortColumns
	wide []float64   // see distances
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

// zero32 returns n sums of zero.
func (s *scratch) zero32(n int) []int64 {
	s.sums = append(s.sums[:0], make([]int64, n)...)
	return s.sums
}

// segments cuts l.
func (l Layout) segments() []segment { return l.cut(segmentLen) }

// cut cuts l into segments of at most length elements.
func (l Layout) cut(length int) []segment {
	var segments []segment
	for i, s := range l {
		for from := 0; from < s.Len; from += length {
			segments = append(segments, segment{name: s.Name, vector: i, from: from, to: min(from+length, s.Len)})
		}
	}
	return segments
}

// eachSegment calls do for every segment, with several goroutines if elements
// times cost is large; own is the scratch of this one. If one fails it calls undo
// for those that were done, and returns the error of the first segment that
// failed. Since segments are taken in order, that is the same one however many
// goroutines there are.
func eachSegment(segments []segment, cost int, own *scratch, do func(*segment, *scratch) error, undo func(*segment)) error {
	size := 0
	for _, seg := range segments {
		size += seg.to - seg.from
	}
	worthwhile := int64(size)*int64(max(cost, 1))/parallelLen + 1
	workers := int(min(int64(runtime.GOMAXPROCS(0)), int64((len(segments)+runLen-1)/runLen), worthwhile))
	w := work{segments: segments, do: do, failed: len(segments)}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(func() { w.run(new(scratch)) })
	}
	w.run(own)
	wg.Wait()
	if w.err != nil {
		for _, i := range w.done {
			undo(&segments[i])
		}
	}
	return w.err
}

// work is what the goroutines of one eachSegment share.
type work struct {
	segments []segment
	do       func(*segment, *scratch) error
	next     atomic.Int64 // first segment not taken
	stop     atomic.Bool

	mu     sync.Mutex
	done   []int // segments to undo
	failed int   // first segment that failed
	err    error
}

func (w *work) run(old *scratch) {
	var done []int
	for !w.stop.Load() {
		from := int(w.next.Add(runLen)) - runLen
		for i := from; i < min(from+runLen, len(w.segments)); i++ {
			if err := w.do(&w.segments[i], old); err != nil {
				w.fail(i, err)
				break
			}
			done = append(done, i)
		}
		if from >= len(w.segments) {
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
