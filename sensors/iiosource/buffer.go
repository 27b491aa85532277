package iiosource

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"periph.io/x/conn/v3"

	"github.com/millwright-iot/millwright/sensors/chips"
)

const (
	timestamp = "in_timestamp"
	// keepSeconds is how much the kernel's buffer holds.
	keepSeconds = 2
	// maxRead bounds what one Read takes, in bytes.
	maxRead = 1 << 18
	// maxFrame bounds a frame, in bytes.
	maxFrame = 1 << 12
	// readWait is how long to wait for a frame when there is none. Reading needs
	// some: with a deadline that has passed nothing is tried.
	readWait = time.Millisecond
)

// buffer reads frames from a device's buffer. It implements chips.Driver.
type buffer struct {
	tree     tree
	elements []element
	plan     chips.Plan
	trigger  string

	file    *os.File
	fields  []field // of elements, in their order
	convert []conversion
	stamp   *field // nil if the device has none
	size    int    // of a frame

	pending []byte // read, and not yet turned into values
	chunk   []byte
	last    int64 // newest timestamp; 0 before the first
	gap     bool  // samples were lost before what is pending
}

func (d *buffer) Plan() chips.Plan { return d.plan }

// Start sets the buffer up and opens it.
func (d *buffer) Start(conn.Conn) error {
	if err := d.tree.find(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(d.tree.dir, "scan_elements")); err != nil {
		return fmt.Errorf("set up %s: %w; it has no buffer: leave rate_hz out and use every", d.tree.name, err)
	}
	if err := d.tree.write("0", "buffer", "enable"); err != nil { // the rest only changes while it is off
		return err
	}
	for _, step := range []func() error{d.choose, d.setRate, d.layout} {
		if err := step(); err != nil {
			return fmt.Errorf("set up %s: %w", d.tree.name, err)
		}
	}
	if d.trigger != "" {
		if err := d.tree.write(d.trigger, "trigger", "current_trigger"); err != nil {
			return err
		}
	}
	length := strconv.Itoa(max(128, int(d.plan.RateHz*keepSeconds)))
	if err := d.tree.write(length, "buffer", "length"); err != nil {
		return err
	}
	if err := d.tree.write("1", "buffer", "enable"); err != nil {
		return fmt.Errorf("%w; a device that needs a trigger must have one: set trigger", err)
	}
	path := filepath.Join(d.tree.root, "dev", filepath.Base(d.tree.dir))
	// Without blocking, so that a device that stops does not hold its bus.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf(`open %s: %w; if it is there, let a udev rule for SUBSYSTEM=="iio" give it to the agent's group`, path, err)
	}
	d.file, d.pending, d.last, d.gap = f, d.pending[:0], 0, false
	return nil
}

// choose enables the elements wanted and the timestamp, and nothing else.
func (d *buffer) choose() error {
	entries, err := os.ReadDir(filepath.Join(d.tree.dir, "scan_elements"))
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), "_en")
		if !ok {
			continue
		}
		there[name] = true
		on := "0"
		if name == timestamp || d.wants(name) {
			on = "1"
		}
		if err := d.tree.write(on, "scan_elements", e.Name()); err != nil {
			return err
		}
	}
	for _, e := range d.elements {
		if !there[e.name] {
			return fmt.Errorf("element %s is not in the buffer; scan_elements has %s", e.name, strings.Join(sorted(there), ", "))
		}
	}
	return nil
}

func (d *buffer) wants(name string) bool {
	return slices.ContainsFunc(d.elements, func(e element) bool { return e.name == name })
}

func sorted(set map[string]bool) (names []string) {
	for n := range set {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// setRate sets the device's sampling frequency, if it has one: with a trigger, the
// trigger may have it instead.
func (d *buffer) setRate() error {
	want := strconv.FormatFloat(d.plan.RateHz, 'f', -1, 64)
	for _, name := range d.elements[0].shared("sampling_frequency") {
		if _, err := d.tree.read(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := d.tree.write(want, name)
		var got float64
		if err == nil {
			got, err = d.tree.number(name)
		}
		if err == nil && math.Abs(got/d.plan.RateHz-1) > 0.01 {
			err = fmt.Errorf("rate_hz: asked for %s, the device took %v", want, got)
		}
		if err != nil {
			if choices, e := d.tree.read(name + "_available"); e == nil {
				err = fmt.Errorf("%w; it has %s", err, choices)
			}
			return err
		}
		return nil
	}
	return nil
}

// layout reads where the elements are in a frame, and their conversions.
func (d *buffer) layout() error {
	var all []field
	names := []string{timestamp}
	for _, e := range d.elements {
		names = append(names, e.name)
	}
	for _, name := range names {
		typ, err := d.tree.read("scan_elements", name+"_type")
		if name == timestamp && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		index, err := d.tree.number("scan_elements", name+"_index")
		if err != nil {
			return err
		}
		f := field{name: name, index: int(index)}
		if f.typ, err = parseType(typ); err != nil {
			return fmt.Errorf("element %s: %w", name, err)
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b field) int { return a.index - b.index })
	if d.size = place(all); d.size > maxFrame {
		return fmt.Errorf("a frame of %d bytes is longer than %d", d.size, maxFrame)
	}
	d.fields, d.convert, d.stamp = d.fields[:0], d.convert[:0], nil
	for i := range all {
		if all[i].name == timestamp {
			d.stamp = &all[i]
		}
	}
	for _, e := range d.elements {
		i := slices.IndexFunc(all, func(f field) bool { return f.name == e.name })
		d.fields = append(d.fields, all[i])
		c, err := d.tree.conversion(e)
		if err != nil {
			return err
		}
		d.convert = append(d.convert, c)
	}
	return nil
}

// close lets the device go and turns its buffer off.
func (d *buffer) close() error {
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	if e := d.tree.write("0", "buffer", "enable"); e != nil && !errors.Is(e, fs.ErrNotExist) { // unplugged
		err = errors.Join(err, e)
	}
	return err
}

func (d *buffer) Read(b *chips.Batch) error {
	if err := d.fill(); err != nil {
		return fmt.Errorf("read %s: %w", d.tree.name, err)
	}
	used, more := d.decode(b, d.pending)
	d.pending = append(d.pending[:0], d.pending[used:]...)
	if more {
		b.Again = time.Millisecond
	}
	return nil
}

// fill reads what there is.
func (d *buffer) fill() error {
	if d.chunk == nil {
		d.chunk = make([]byte, 1<<14)
	}
	for len(d.pending) < maxRead {
		if err := d.file.SetReadDeadline(time.Now().Add(readWait)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
			return err
		}
		n, err := d.file.Read(d.chunk[:len(d.chunk)/d.size*d.size])
		d.pending = append(d.pending, d.chunk[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EAGAIN), errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == 0:
			return nil
		}
	}
	return nil
}

// decode turns whole frames of raw into values of b and returns how many bytes it
// used. It stops, with more set, where timestamps say that samples are missing.
func (d *buffer) decode(b *chips.Batch, raw []byte) (used int, more bool) {
	b.Overrun, d.gap = d.gap, false
	period := 1e9 / d.plan.RateHz
	for ; len(raw)-used >= d.size; used += d.size {
		frame := raw[used : used+d.size]
		if d.stamp != nil {
			at, _ := d.stamp.typ.value(frame[d.stamp.offset:])
			if step := float64(at) - float64(d.last); d.last != 0 && (step > 1.5*period || step < 0) {
				d.last, d.gap = at, true
				if used > 0 {
					return used, true
				}
				b.Overrun, d.gap = true, false
			}
			d.last = at
		}
		for i, f := range d.fields {
			v, limit := f.typ.value(frame[f.offset:])
			b.Values[i] = append(b.Values[i], d.convert[i].base(float64(v)))
			b.Clipped[i] = b.Clipped[i] || limit
		}
	}
	return used, false
}
