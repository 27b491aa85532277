package strictyaml

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// walker sets a value from a node tree. It decodes leaf by leaf, because only
// then can each problem be told with its own path and line.
type walker struct {
	doc   *Document
	depth int
}

// maxDepth bounds nesting, aliases included, so that a document that refers to
// itself ends as a problem.
const maxDepth = 64

var unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()

func (w *walker) value(path string, n *yaml.Node, dst reflect.Value) {
	if w.depth++; w.depth > maxDepth {
		w.doc.add(n.Line, path, "nested deeper than %d levels", maxDepth)
		w.depth--
		return
	}
	defer func() { w.depth-- }()
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if path != "" {
		w.doc.lines[path] = n.Line
	}
	if n.Tag == "!!null" {
		return // `key:` with nothing behind it sets nothing
	}
	if reflect.PointerTo(dst.Type()).Implements(unmarshaler) {
		w.leaf(path, n, dst)
		return
	}
	switch dst.Kind() {
	case reflect.Pointer:
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		w.value(path, n, dst.Elem())
	case reflect.Struct:
		w.structure(path, n, dst)
	case reflect.Slice:
		w.list(path, n, dst)
	case reflect.Map:
		w.mapping(path, n, dst)
	default:
		w.leaf(path, n, dst)
	}
}

func (w *walker) structure(path string, n *yaml.Node, dst reflect.Value) {
	if !w.expect(path, n, yaml.MappingNode, "a mapping of keys") {
		return
	}
	fields := fieldsOf(dst)
	for key, value := range w.pairs(path, n) {
		field, ok := fields[key.Value]
		if !ok {
			w.doc.add(key.Line, join(path, key.Value), "unknown key%s", suggest(key.Value, fields))
			continue
		}
		w.value(join(path, key.Value), value, field)
	}
}

func (w *walker) mapping(path string, n *yaml.Node, dst reflect.Value) {
	if !w.expect(path, n, yaml.MappingNode, "a mapping") {
		return
	}
	m := reflect.MakeMap(dst.Type())
	for key, value := range w.pairs(path, n) {
		elem := reflect.New(dst.Type().Elem()).Elem()
		w.value(join(path, key.Value), value, elem)
		m.SetMapIndex(reflect.ValueOf(key.Value).Convert(dst.Type().Key()), elem)
	}
	dst.Set(m)
}

func (w *walker) list(path string, n *yaml.Node, dst reflect.Value) {
	if !w.expect(path, n, yaml.SequenceNode, "a list") {
		return
	}
	s := reflect.MakeSlice(dst.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		w.value(fmt.Sprintf("%s[%d]", path, i), item, s.Index(i))
	}
	dst.Set(s)
}

func (w *walker) leaf(path string, n *yaml.Node, dst reflect.Value) {
	want := describe(dst.Type())
	if n.Kind != yaml.ScalarNode && !reflect.PointerTo(dst.Type()).Implements(unmarshaler) {
		w.unread(n, path, "want %s, got a %s", want, kindName(n))
		return
	}
	if err := n.Decode(dst.Addr().Interface()); err != nil {
		w.unread(n, path, "want %s, got %q", want, n.Value)
		return
	}
	if dst.CanFloat() && (math.IsNaN(dst.Float()) || math.IsInf(dst.Float(), 0)) {
		w.unread(n, path, "want a finite number, got %q", n.Value)
		dst.SetFloat(0)
	}
}

// unread reports a value that could not be decoded.
func (w *walker) unread(n *yaml.Node, path, format string, args ...any) {
	w.doc.add(n.Line, path, format, args...)
	w.doc.unread = append(w.doc.unread, path)
}

// pairs yields the keys and values of a mapping, reporting repeated keys.
func (w *walker) pairs(path string, n *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		first := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Kind != yaml.ScalarNode {
				w.doc.add(key.Line, path, "want a plain key, got a %s", kindName(key))
				continue
			}
			if line, seen := first[key.Value]; seen {
				w.doc.add(key.Line, join(path, key.Value), "key repeated; it is already set in line %d", line)
				continue
			}
			first[key.Value] = key.Line
			if !yield(key, value) {
				return
			}
		}
	}
}

func (w *walker) expect(path string, n *yaml.Node, kind yaml.Kind, want string) bool {
	if n.Kind != kind {
		w.unread(n, path, "want %s, got a %s", want, kindName(n))
	}
	return n.Kind == kind
}

// fieldsOf maps the keys of a struct to its fields, those of inline structs included.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
		case slices.Contains(strings.Split(options, ","), "inline"):
			maps.Copy(fields, fieldsOf(v.Field(i)))
		case name == "":
			fields[strings.ToLower(f.Name)] = v.Field(i)
		default:
			fields[name] = v.Field(i)
		}
	}
	return fields
}

// suggest names the known key nearest to key, or all of them when none is near.
func suggest(key string, fields map[string]reflect.Value) string {
	known := slices.Sorted(maps.Keys(fields))
	if near := Nearest(key, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; known keys are " + strings.Join(known, ", ")
}

// Nearest returns the name in known that differs least from name, or "" when
// none is near enough to be what was meant.
func Nearest(name string, known []string) string {
	best, bestDistance := "", max(2, len(name)/2)+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	default:
		return fmt.Sprintf("single value (%q)", n.Value)
	}
}

func describe(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 30s, 5m or 1h30m"
	case t == reflect.TypeFor[Size]():
		return "a size such as 512KiB, 64MiB or 2GiB"
	case t == reflect.TypeFor[Percent]():
		return "a share such as 25%"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a text"
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uintptr:
		return "a whole number, 0 or more"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return "a whole number"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a " + strings.ToLower(t.Name())
}
