// Package replay plays recorded CSV files as if the machine were running.
//
// A [Source] emits the value columns of one file at real time, faster, or as
// fast as it is consumed. What was true (label columns) is read apart, with
// [ReadLabels], by whoever judges a detector: a Source never shows it.
package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Format says how a file is written.
type Format struct {
	// Separator stands between fields. Default: the one of ; , and tab that
	// the first line holds most of.
	Separator rune
	// Header names the columns of a file without a header line. Default: the
	// first line is the header.
	Header []string
}

// Reader reads the rows of one CSV file, plain or, when its name ends in .gz,
// gzip-compressed.
type Reader struct {
	path   string
	csv    *csv.Reader
	header []string
	row    int
	closes []io.Closer
}

// Row is one line of data.
type Row struct {
	Number int      // counted from 0, the header not included
	Line   int      // in the file, from 1
	Fields []string // in the order of the header; overwritten by the next call of Next
}

// Open opens the file at path and reads its header.
func Open(path string, f Format) (*Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	r := &Reader{path: path, closes: []io.Closer{file}}
	if err := r.begin(file, f); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) begin(file io.Reader, f Format) error {
	if strings.HasSuffix(r.path, ".gz") {
		z, err := gzip.NewReader(file)
		if err != nil {
			return fmt.Errorf("read %s: not gzip although its name ends in .gz: %w", r.path, err)
		}
		r.closes = append(r.closes, z)
		file = z
	}
	in := bufio.NewReaderSize(file, 64<<10)
	if bom, _ := in.Peek(3); bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3)
	}
	if f.Separator == 0 {
		f.Separator = guessSeparator(in)
	}
	r.csv = csv.NewReader(in)
	r.csv.Comma = f.Separator
	r.csv.ReuseRecord = true
	r.csv.TrimLeadingSpace = true
	r.header = slices.Clone(f.Header)
	if len(r.header) == 0 {
		first, err := r.csv.Read()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: file is empty", r.path)
		}
		if err != nil {
			return r.located(err)
		}
		for _, name := range first {
			r.header = append(r.header, strings.TrimSpace(name))
		}
	}
	r.csv.FieldsPerRecord = len(r.header)
	return nil
}

func guessSeparator(in *bufio.Reader) rune {
	head, _ := in.Peek(4096)
	head, _, _ = bytes.Cut(head, []byte("\n"))
	best, most := ',', 0
	for _, c := range []rune{';', ',', '\t'} {
		if n := bytes.Count(head, []byte(string(c))); n > most {
			best, most = c, n
		}
	}
	return best
}

// Header names the columns. The caller must not change it.
func (r *Reader) Header() []string { return r.header }

// Column returns the position of the column called name; the error of a
// missing one names those present.
func (r *Reader) Column(name string) (int, error) {
	if i := slices.Index(r.header, name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s: no column %q; the file has %s", r.path, name, quoteAll(r.header))
}

func quoteAll(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}

// Next reads one row. At the end of the file it returns io.EOF.
func (r *Reader) Next() (Row, error) {
	fields, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return Row{}, io.EOF
	}
	if err != nil {
		return Row{}, r.located(err)
	}
	line, _ := r.csv.FieldPos(0)
	row := Row{Number: r.row, Line: line, Fields: fields}
	r.row++
	return row, nil
}

// located turns an error of the CSV reader into one with file and line.
func (r *Reader) located(err error) error {
	var pe *csv.ParseError
	if !errors.As(err, &pe) {
		return fmt.Errorf("read %s: %w", r.path, err)
	}
	if errors.Is(pe.Err, csv.ErrFieldCount) {
		return fmt.Errorf("%s:%d: the line has another number of fields than the header's %d; check the separator", r.path, pe.Line, len(r.header))
	}
	return fmt.Errorf("%s:%d: %w", r.path, pe.Line, pe.Err)
}

// Close closes the file.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range slices.Backward(r.closes) {
		errs = append(errs, c.Close())
	}
	r.closes = nil
	return errors.Join(errs...)
}
