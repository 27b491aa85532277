package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// A recording of blocks keeps what a Source emitted, bursts and their rates
// included, of any number of machines: lines of JSON, the first a RecordingHeader
// and each other one a block,
//
//	{"millwright_recording":1,"gateway":"hall-7","started":"2026-01-01T10:00:00Z","channels":[{"machine":"pump-1","channel":"vibration","unit":"g","base_unit":"m/s2"}]}
//	{"machine":"pump-1","channel":"vibration","start":"2026-01-01T10:00:00.25Z","rate_hz":3200,"quality":1,"samples":[0.981,…]}
//
// Samples are in the base unit; start, rate_hz and quality are those of
// [sensors.Block], and absent when zero. A name that ends in .gz means gzip.
const recordingFormat = 1

// RecordedChannel is one channel in a recording.
type RecordedChannel struct {
	Machine  string `json:"machine"`
	Channel  string `json:"channel"`
	Unit     string `json:"unit"`      // that the source spoke
	BaseUnit string `json:"base_unit"` // of the samples in the recording
}

// RecordingHeader is what a recording says of itself.
type RecordingHeader struct {
	Format   int               `json:"millwright_recording"` // 1
	Gateway  string            `json:"gateway,omitempty"`
	Started  time.Time         `json:"started"`
	Channels []RecordedChannel `json:"channels"`
}

// recordedBlock is a block's line; its fields are those of sensors.Block, in order.
type recordedBlock struct {
	Machine string          `json:"machine"`
	Channel string          `json:"channel"`
	Start   time.Time       `json:"start"`
	RateHz  float64         `json:"rate_hz"`
	Samples []float64       `json:"samples"`
	Quality sensors.Quality `json:"quality"`
}

// Recorder writes a recording. It must be used by one goroutine at a time.
type Recorder struct {
	w    io.Writer
	line []byte
}

// NewRecorder begins a recording on w.
func NewRecorder(w io.Writer, h RecordingHeader) (*Recorder, error) {
	h.Format = recordingFormat
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	return &Recorder{w: w}, nil
}

// Write adds a block, which must be valid, in one write of a whole line.
func (r *Recorder) Write(b sensors.Block) error {
	if err := b.Validate(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	p := r.line[:0]
	p = append(p, `{"machine":`...)
	p = appendJSON(p, b.Machine)
	p = append(p, `,"channel":`...)
	p = appendJSON(p, b.Channel)
	p = append(p, `,"start":"`...)
	p = b.Start.UTC().AppendFormat(p, time.RFC3339Nano)
	p = append(p, '"')
	if b.RateHz > 0 {
		p = strconv.AppendFloat(append(p, `,"rate_hz":`...), b.RateHz, 'g', -1, 64)
	}
	if b.Quality != 0 {
		p = strconv.AppendUint(append(p, `,"quality":`...), uint64(b.Quality), 10)
	}
	p = append(p, `,"samples":[`...)
	for i, x := range b.Samples {
		if i > 0 {
			p = append(p, ',')
		}
		p = strconv.AppendFloat(p, x, 'g', -1, 64)
	}
	p = append(p, "]}\n"...)
	r.line = p
	if _, err := r.w.Write(r.line); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func appendJSON(p []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string: cannot fail
	return append(p, text...)
}

// IsRecording reports whether head, the beginning of a file, is that of a recording.
func IsRecording(head []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(head, " \t"), []byte(`{"millwright_recording"`))
}

// maxLine bounds a line: a block of a million samples.
const maxLine = 32 << 20

// Recording reads a recording.
type Recording struct {
	path   string
	header RecordingHeader
	lines  *bufio.Scanner
	line   int
	torn   bool
	closes []io.Closer
}

// OpenRecording opens the recording at path and reads its header.
func OpenRecording(path string) (*Recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	r := &Recording{path: path, closes: []io.Closer{file}}
	if err := r.begin(file); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Recording) begin(file io.Reader) error {
	if strings.HasSuffix(r.path, ".gz") {
		z, err := gzip.NewReader(file)
		if err != nil {
			return fmt.Errorf("read %s: not gzip although its name ends in .gz: %w", r.path, err)
		}
		r.closes = append(r.closes, z)
		file = z
	}
	r.lines = bufio.NewScanner(file)
	r.lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	if !r.lines.Scan() {
		return fmt.Errorf("read %s: file is empty, or its first line no recording's: %w", r.path, errors.Join(r.lines.Err(), io.ErrUnexpectedEOF))
	}
	r.line = 1
	if err := json.Unmarshal(r.lines.Bytes(), &r.header); err != nil || r.header.Format == 0 {
		return fmt.Errorf("%s:1: not the first line of a recording; make one with millwright-agent record", r.path)
	}
	if r.header.Format != recordingFormat {
		return fmt.Errorf("%s:1: recording has format %d; this program reads %d", r.path, r.header.Format, recordingFormat)
	}
	return nil
}

// Header returns what the recording says of itself.
func (r *Recording) Header() RecordingHeader { return r.header }

// Torn reports whether the recording broke off in the middle of a line, as after a
// power cut. It is known once Next has returned io.EOF.
func (r *Recording) Torn() bool { return r.torn }

// Next reads one block. At the end it returns io.EOF; what a power cut left of a last
// line is no block and no error. Any other line that is no valid block is an error that
// names it.
func (r *Recording) Next() (sensors.Block, error) {
	for r.lines.Scan() {
		r.line++
		text := bytes.TrimSpace(r.lines.Bytes())
		if len(text) == 0 {
			continue
		}
		b, err := parseBlock(text)
		if err == nil {
			return b, nil
		}
		if !r.lines.Scan() && (r.lines.Err() == nil || errors.Is(r.lines.Err(), io.ErrUnexpectedEOF)) {
			r.torn = true
			return sensors.Block{}, io.EOF
		}
		return sensors.Block{}, fmt.Errorf("%s:%d: not a block of a recording: %w", r.path, r.line, err)
	}
	switch err := r.lines.Err(); {
	case err == nil:
		return sensors.Block{}, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF): // gzip, cut off
		r.torn = true
		return sensors.Block{}, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return sensors.Block{}, fmt.Errorf("%s:%d: line is longer than %d bytes", r.path, r.line+1, maxLine)
	default:
		return sensors.Block{}, fmt.Errorf("read %s: %w", r.path, err)
	}
}

func parseBlock(text []byte) (sensors.Block, error) {
	var l recordedBlock
	if err := json.Unmarshal(text, &l); err != nil {
		return sensors.Block{}, err
	}
	b := sensors.Block(l)
	if math.IsInf(b.RateHz, 0) {
		return sensors.Block{}, errors.New("rate is not finite")
	}
	return b, b.Validate()
}

// Close closes the file.
func (r *Recording) Close() error {
	var errs []error
	for i := len(r.closes) - 1; i >= 0; i-- {
		errs = append(errs, r.closes[i].Close())
	}
	r.closes = nil
	return errors.Join(errs...)
}
