package window

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// epoch is a multiple of every hop used here.
var epoch = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(math.Round(seconds * 1e9)))
}

// block has samples with the values first, first+1, …
func block(channel string, seconds, rateHz float64, n int, first float64) sensors.Block {
	b := sensors.Block{Machine: "m", Channel: channel, Start: at(seconds), RateHz: rateHz}
	for i := range n {
		b.Samples = append(b.Samples, first+float64(i))
	}
	return b
}

// harness collects windows as text, such as "10-20 a:1,2,3".
type harness struct {
	*testing.T
	w    *Windower
	got  []string
	last Window
}

func start(t *testing.T, spec Spec) *harness {
	t.Helper()
	w, err := New("m", spec)
	if err != nil {
		t.Fatal(err)
	}
	return &harness{T: t, w: w}
}

func (h *harness) add(blocks ...sensors.Block) {
	h.Helper()
	for _, b := range blocks {
		if err := h.w.Add(b, h.collect); err != nil {
			h.Fatal(err)
		}
		h.balanced()
	}
}

func (h *harness) collect(w *Window) error {
	text := fmt.Sprintf("%g-%g", w.Start.Sub(epoch).Seconds(), w.End.Sub(epoch).Seconds())
	for _, s := range w.Segments {
		text += " " + s.Channel + ":" + short(s.Samples)
	}
	h.got = append(h.got, text)
	h.last = *w
	return nil
}

// short lists a few samples, or tells how many there are and their ends.
func short(xs []float64) string {
	if len(xs) > 12 {
		return fmt.Sprintf("%d(%g..%g)", len(xs), xs[0], xs[len(xs)-1])
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(xs), "[]"), " ", ",")
}

func (h *harness) balanced() {
	h.Helper()
	s := h.w.Stats()
	if s.Received != s.Used+s.Pending+s.Dropped.Total() || s.Pending < 0 {
		h.Fatalf("samples do not add up: %+v", s)
	}
}

func (h *harness) want(windows ...string) {
	h.Helper()
	if got, want := strings.Join(h.got, "\n"), strings.Join(windows, "\n"); got != want {
		h.Errorf("windows:\n%s\nwant:\n%s", got, want)
	}
	h.got = nil
}

func (h *harness) wantDropped(d Dropped) {
	h.Helper()
	if got := h.w.Stats().Dropped; got != d {
		h.Errorf("dropped %+v, want %+v", got, d)
	}
}

func TestWindower_Tumbling(t *testing.T) {
	h := start(t, Spec{Window: 4 * time.Second, Channels: []string{"a", "b"}})
	h.add(block("a", 0, 1, 3, 0), block("b", 0, 0, 1, 100))
	h.add(block("a", 3, 1, 3, 3)) // b has not passed 4 yet
	h.want()
	h.add(block("b", 4, 0, 1, 104))
	h.want("0-4 a:0,1,2,3 b:100")
	h.add(block("a", 6, 1, 4, 6), block("b", 11, 0, 1, 111))
	h.want("4-8 a:4,5,6,7 b:104") // 8-12 waits for a
	if s := h.w.Stats(); s.Used != 10 || s.Pending != 3 || s.Emitted != 2 || s.Skipped != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestWindower_StartsWithTheFirstWholeWindow(t *testing.T) {
	h := start(t, Spec{Window: 10 * time.Second, Channels: []string{"a"}})
	for i := 3; i < 30; i++ {
		h.add(block("a", float64(i), 1, 1, float64(i)))
	}
	h.want("10-20 a:10,11,12,13,14,15,16,17,18,19", "20-30 a:20,21,22,23,24,25,26,27,28,29")
	h.wantDropped(Dropped{Incomplete: 7})
}

func TestWindower_OverlapWithMissingSeconds(t *testing.T) {
	h := start(t, Spec{Window: 5 * time.Second, Hop: time.Second, MaxGap: 3 * time.Second, Channels: []string{"a"}})
	for _, s := range []float64{0, 1, 2, 3, 4, 5, 8, 9, 10, 14, 15, 16, 17, 18, 19} {
		h.add(block("a", s, 1, 1, s))
	}
	h.want("0-5 a:0,1,2,3,4", "1-6 a:1,2,3,4,5", "2-7 a:2,3,4,5", "3-8 a:3,4,5", "4-9 a:4,5,8",
		"5-10 a:5,8,9", "6-11 a:8,9,10", "7-12 a:8,9,10", "8-13 a:8,9,10", // 9-14 and 10-15 have 4 s of silence
		"11-16 a:14,15", "12-17 a:14,15,16", "13-18 a:14,15,16,17", "14-19 a:14,15,16,17,18", "15-20 a:15,16,17,18,19")
	s := h.w.Stats()
	if s.Skipped != 2 || s.Channels[0].Gaps != 2 || s.Channels[0].Missing != 0 || s.Used != 15 || s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestWindower_Bursts(t *testing.T) {
	h := start(t, Spec{Window: 10 * time.Second, Channels: []string{"v", "t"}})
	for i := range 4 {
		s := float64(10 * i)
		h.add(block("v", s+2, 3200, 3200, s), block("t", s+1, 0, 1, s))
	}
	h.want("10-20 v:3200(10..3209) t:10", "20-30 v:3200(20..3219) t:20")
	if p := h.last.Segments[0].Pieces; len(p) != 1 || p[0] != (Piece{OffsetS: 2, RateHz: 3200, N: 3200}) {
		t.Errorf("pieces %+v", p)
	}
}

// A burst that lies across a window's edge is cut there, and the two parts in one
// window are not one stretch.
func TestWindower_BurstAcrossTheEdge(t *testing.T) {
	h := start(t, Spec{Window: 10 * time.Second, Channels: []string{"v"}})
	for i := range 4 {
		h.add(block("v", 10*float64(i)-0.25, 100, 100, float64(1000*i)))
	}
	h.want("0-10 v:100(25..1024)", "10-20 v:100(1025..2024)", "20-30 v:100(2025..3024)")
	want := []Piece{{OffsetS: 0, RateHz: 100, N: 75}, {OffsetS: 9.75, RateHz: 100, N: 25}}
	if p := h.last.Segments[0].Pieces; len(p) != 2 || p[0] != want[0] || p[1] != want[1] {
		t.Errorf("pieces %+v, want %+v", p, want)
	}
}

// How a signal is divided into blocks makes no difference to what a window holds.
func TestWindower_DivisionIntoBlocks(t *testing.T) {
	const rate, total = 12_000.0, 60_000
	spec := Spec{Window: time.Second, Hop: 500 * time.Millisecond, Channels: []string{"v"}}
	var want string
	for _, n := range []int{1000, 1, 7, 333, 12_000, 17_001, total} {
		h := start(t, spec)
		for from := 0; from < total; from += n {
			h.add(block("v", float64(from)/rate, rate, min(n, total-from), float64(from)))
		}
		if got := strings.Join(h.got, "\n"); want == "" {
			want = got
		} else if got != want {
			t.Errorf("blocks of %d:\n%s\nwant:\n%s", n, got, want)
		}
		s := h.last.Segments[0]
		next, hi, r := s.Stretch(0, 0)
		if next != len(s.Pieces) || hi != len(s.Samples) || r != rate {
			t.Errorf("blocks of %d: the first stretch is %d of %d samples", n, hi, len(s.Samples))
		}
	}
	if !strings.HasPrefix(want, "0-1 v:12000(0..11999)\n0.5-1.5 v:12000(6000..17999)") || strings.Count(want, "\n") != 8 {
		t.Errorf("windows:\n%s", want)
	}
}

func TestWindower_OutOfOrder(t *testing.T) {
	h := start(t, Spec{Window: 10 * time.Second, Hop: 5 * time.Second, Channels: []string{"a", "b"}})
	h.add(block("a", 0, 0, 1, 0), block("b", 0, 0, 1, 0), block("a", 8, 0, 1, 8), block("a", 2, 1, 3, 2), block("a", 7, 0, 1, 7))
	h.add(block("b", 10, 0, 1, 10), block("a", 11, 0, 1, 11))
	h.want("0-10 a:0,2,3,4,7,8 b:0")
	h.add(block("a", 4, 1, 2, 4)) // its first sample is before 5, the start of the next window
	h.add(block("b", 15, 0, 1, 15), block("a", 15, 0, 1, 15))
	h.want("5-15 a:5,7,8,11 b:10")
	h.wantDropped(Dropped{Late: 1})
}

func TestWindower_Drops(t *testing.T) {
	h := start(t, Spec{Window: 10 * time.Second, Channels: []string{"a"}, MaxPending: 20})
	bad := block("a", 0, 1, 2, 0)
	bad.Samples[1] = math.NaN()
	other := block("a", 0, 1, 1, 0)
	other.Machine = "another"
	old := block("a", 0, 1, 1, 0)
	old.Start = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)
	h.add(bad, other, old, block("a", 0, 1e-300, 1, 0), block("zzz", 0, 1, 5, 0)) // 5 invalid, 5 unknown
	h.wantDropped(Dropped{Invalid: 5, UnknownChannel: 5})
	h.add(block("a", 0, 1, 10, 0))
	h.want("0-10 a:0,1,2,3,4,5,6,7,8,9")
	h.add(block("a", 2, 1, 3, 0)) // 3 late
	h.add(block("a", 10, 1, 4, 10), block("a", 10, 1, 4, 10))
	h.wantDropped(Dropped{Invalid: 5, UnknownChannel: 5, Late: 3, Duplicate: 4})
	h.add(block("a", 12, 1, 5, 12)) // its first two are covered
	h.wantDropped(Dropped{Invalid: 5, UnknownChannel: 5, Late: 3, Duplicate: 4, Overlap: 2})
	h.add(block("a", 17, 1000, 14, 0)) // 7 wait: no room
	h.add(block("a", 17, 1, 3, 17))
	h.want("10-20 a:10,11,12,13,14,15,16,17,18,19")
	h.wantDropped(Dropped{Invalid: 5, UnknownChannel: 5, Late: 3, Duplicate: 4, Overlap: 2, Overflow: 14})
}

// A channel that stops holds the windows up for MaxGap and no longer; the counter names it.
func TestWindower_DeadChannel(t *testing.T) {
	h := start(t, Spec{Window: 5 * time.Second, MaxGap: 5 * time.Second, Channels: []string{"a", "b"}})
	for i := range 40 {
		s := float64(i)
		h.add(block("a", s, 1, 1, s))
		if i < 7 || i >= 30 {
			h.add(block("b", s, 1, 1, s))
		}
		if pending := h.w.Stats().Pending; pending > 17 {
			t.Fatalf("%d samples wait at %d s", pending, i)
		}
	}
	h.want("0-5 a:0,1,2,3,4 b:0,1,2,3,4", "5-10 a:5,6,7,8,9 b:5,6", "30-35 a:30,31,32,33,34 b:30,31,32,33,34", "35-40 a:35,36,37,38,39 b:35,36,37,38,39")
	s := h.w.Stats()
	if s.Skipped != 4 || s.Channels[1] != (ChannelStats{"b", 4, 0}) || s.Channels[0] != (ChannelStats{"a", 0, 0}) || s.Dropped != (Dropped{Incomplete: 20}) {
		t.Errorf("stats %+v", s)
	}
}

func TestWindower_Quality(t *testing.T) {
	h := start(t, Spec{Window: 2 * time.Second, Channels: []string{"a"}})
	clipped := block("a", 0, 1, 3, 0)
	clipped.Quality = sensors.QualityClipped
	lost := block("a", 3, 1, 3, 3)
	lost.Quality = sensors.QualityGap
	h.add(clipped)
	if h.last.Quality != sensors.QualityClipped {
		t.Errorf("quality %b", h.last.Quality)
	}
	h.add(lost)
	if h.last.Quality != sensors.QualityGap {
		t.Errorf("quality %b", h.last.Quality)
	}
	h = start(t, Spec{Window: 4 * time.Second, Channels: []string{"a"}})
	h.add(clipped, lost)
	if h.last.Quality != sensors.QualityClipped|sensors.QualityGap {
		t.Errorf("quality %b", h.last.Quality)
	}
	if p := h.last.Segments[0].Pieces; len(p) != 2 || p[1].Joined {
		t.Errorf("samples were lost before the second block, but its piece is joined: %+v", p)
	}
}

func TestWindower_EmitError(t *testing.T) {
	h := start(t, Spec{Window: time.Second, Channels: []string{"a"}})
	broken := errors.New("broken")
	if err := h.w.Add(block("a", 0, 1, 3, 0), func(*Window) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	h.balanced()
	h.add(block("a", 3, 1, 1, 3))
	h.want("1-2 a:1", "2-3 a:2", "3-4 a:3")
}

// Real clocks waver and real converters run a little fast or slow: no sample is
// lost to that.
func TestWindower_WaveringTimes(t *testing.T) {
	for _, period := range []float64{0.92, 0.99, 0.9999, 1, 1.0001, 1.01, 1.08} {
		h := start(t, Spec{Window: 5 * time.Second, MaxGap: 2 * time.Second, Channels: []string{"v"}})
		for i := range 200 {
			waver := 0.02 * math.Sin(float64(i*i))
			h.add(block("v", float64(i)*period+waver+0.5, 1000, 1000, float64(1000*i)))
		}
		s := h.w.Stats()
		if lost := s.Dropped.Total() - s.Dropped.Incomplete; lost != 0 || s.Skipped != 0 || s.Dropped.Incomplete > 5500 {
			t.Errorf("period %g: %+v", period, s.Dropped)
		}
		seg := h.last.Segments[0]
		if _, hi, _ := seg.Stretch(0, 0); hi != len(seg.Samples) {
			t.Errorf("period %g: the window breaks after %d of %d samples", period, hi, len(seg.Samples))
		}
	}
}

func TestWindower_Allocations(t *testing.T) {
	w, err := New("m", Spec{Window: 2 * time.Second, Hop: time.Second, Channels: []string{"v", "t"}})
	if err != nil {
		t.Fatal(err)
	}
	v, temp, windows := block("v", 0, 3200, 800, 0), block("t", 0, 0, 1, 0), 0
	emit := func(*Window) error { windows++; return nil }
	step := func() {
		for range 4 {
			if w.Add(v, emit) != nil {
				t.Fatal("error")
			}
			v.Start = v.Start.Add(250 * time.Millisecond)
		}
		temp.Start = v.Start
		if w.Add(temp, emit) != nil {
			t.Fatal("error")
		}
	}
	for range 20 {
		step()
	}
	before := windows
	if got := testing.AllocsPerRun(50, step); got != 0 {
		t.Errorf("a window allocates %v times", got)
	}
	if windows-before != 51 {
		t.Errorf("%d windows in 51 steps", windows-before)
	}
}

func TestNew_Problems(t *testing.T) {
	_, err := New("m", Spec{Window: -1, Hop: 5, MaxGap: -1, MaxPending: -1, Channels: []string{"a", "a", ""}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`machine "m"`, "window is", "hop is", "max_gap is", "max_pending is", `"a" is named twice`, "channel 2 has no name"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	for _, spec := range []Spec{
		{},
		{Window: time.Second},
		{Window: time.Second, Hop: 2 * time.Second, Channels: []string{"a"}},
		{Window: time.Hour, Hop: time.Millisecond, Channels: []string{"a"}},
		{Window: 31 * 24 * time.Hour, Channels: []string{"a"}},
	} {
		if _, err := New("m", spec); err == nil {
			t.Errorf("%+v: no error", spec)
		}
	}
}
