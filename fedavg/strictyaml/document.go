// Package strictyaml reads configuration the way a person wants it read: an
// unknown key, a repeated key or a value of the wrong type is an error with
// file, line and the nearest known key, and all problems are reported at once.
//
// It decodes into structs with `yaml` tags (inline included), slices, maps with
// string keys, pointers and whatever implements yaml.Unmarshaler.
package strictyaml

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxBytes is the largest document Load and Parse accept.
const MaxBytes = 4 << 20

// Document remembers where each value of a decoded file stands, so that checks
// of meaning can name the line too.
type Document struct {
	name      string
	lines     map[string]int // by path
	problems  []Problem
	unread    []string // paths of values that could not be decoded
	illegible bool     // it is no YAML: what its values mean cannot be said
}

// Problem is one thing wrong with a document.
type Problem struct {
	File    string
	Line    int    // 0: the file as a whole
	Path    string // e.g. machines[0].channels[1].unit; empty: the file as a whole
	Message string
}

func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Path == "" {
		return place + ": " + p.Message
	}
	return place + ": " + p.Path + ": " + p.Message
}

// Problems is the error that lists everything wrong with a document, by line.
type Problems struct{ List []Problem }

func (e *Problems) Error() string {
	lines := make([]string, len(e.List))
	for i, p := range e.List {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the file at path into dst, a non-nil pointer to a struct. Fields
// the file does not mention keep their value. When the error is a *Problems,
// the Document is usable for further checks, and its Err repeats the problems;
// any other error (the file is absent or unreadable) comes with a nil Document.
func Load(path string, dst any) (*Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, dst)
}

// Parse is Load on bytes; name stands for the file in messages.
func Parse(name string, data []byte, dst any) (*Document, error) {
	target := reflect.ValueOf(dst)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		panic("strictyaml: dst must be a non-nil pointer to a struct")
	}
	d := &Document{name: name, lines: map[string]int{}}
	if len(data) > MaxBytes {
		d.illegible = true
		d.add(0, "", "file is larger than %d MiB", MaxBytes>>20)
		return d, d.Err()
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return d, nil // an empty file sets nothing
	case err != nil:
		d.illegible = true
		d.add(0, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return d, d.Err()
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.add(0, "", "file holds more than one YAML document; keep the first and delete what follows its '---'")
	}
	w := walker{doc: d}
	w.value("", root.Content[0], target.Elem())
	return d, d.Err()
}

// Problem adds a problem at path, which names fields as they are written in the
// file: `machines[0].channels[1].unit`. A path the file does not contain gets
// the line of its nearest ancestor that is there. What could not be read is
// reported already: a check of the value it left behind adds nothing, nor any check
// of a file that is no YAML at all.
func (d *Document) Problem(path, format string, args ...any) {
	if d.illegible || slices.ContainsFunc(d.unread, func(p string) bool { return p == path }) {
		return
	}
	d.add(d.line(path), path, format, args...)
}

// Err returns nil, or a *Problems with everything found so far.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	list := slices.Clone(d.problems)
	slices.SortStableFunc(list, func(a, b Problem) int { return a.Line - b.Line })
	return &Problems{List: list}
}

func (d *Document) add(line int, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.name, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

func (d *Document) line(path string) int {
	for path != "" {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}
