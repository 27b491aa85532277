package decode

import (
	"encoding/json"
	"fmt"
)

// maxDepth bounds nesting, so that a hostile payload cannot exhaust the stack.
const maxDepth = 200

// node is one step of the paths wanted from a document; the paths of all
// channels of a topic form one tree, so that a document is walked once.
type node struct {
	key      string
	index    int // key as a position in an array, -1 if it is none
	slot     int // where this value's span goes, -1 if only a way through
	children []*node
}

func newNode(key string) *node { return &node{key: key, index: arrayIndex(key), slot: -1} }

// child returns the child called key, made if needed.
func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.key == key {
			return c
		}
	}
	c := newNode(key)
	n.children = append(n.children, c)
	return c
}

// span is the part of the payload a value covers; kind is its first byte, 0 for
// a value that is absent.
type span struct {
	start, end int
	kind       byte
}

// scanner checks a whole JSON document and notes where the wanted values are.
// Besides JSON (RFC 8259) it reads NaN, Infinity and -Infinity, which many
// programs write: the value is then refused, and not the rest of its message.
type scanner struct {
	data  []byte
	pos   int
	spans []span // by slot
}

func (s *scanner) fail(what string) error {
	return &Error{Malformed, fmt.Sprintf("payload is not JSON: %s at byte %d; send a JSON document or choose another format", what, s.pos)}
}

// document reads one value and checks that nothing follows it.
func (s *scanner) document(root *node) error {
	if err := s.value(root, 0); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) {
		return s.fail("text after the document")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the byte at the position, 0 at the end (0 is valid nowhere).
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) value(n *node, depth int) error {
	if depth > maxDepth {
		return s.fail(fmt.Sprintf("nesting deeper than %d", maxDepth))
	}
	s.space()
	start, kind := s.pos, s.peek()
	var err error
	switch {
	case kind == '{':
		err = s.object(n, depth)
	case kind == '[':
		err = s.array(n, depth)
	case kind == '"':
		_, err = s.text()
	case kind == '-' || kind >= '0' && kind <= '9':
		err = s.number()
	case kind == 't':
		err = s.word("true")
	case kind == 'f':
		err = s.word("false")
	case kind == 'n':
		err = s.word("null")
	case kind == 'N':
		err = s.word("NaN")
	case kind == 'I':
		err = s.word("Infinity")
	case s.pos >= len(s.data):
		err = s.fail("unexpected end")
	default:
		err = s.fail(fmt.Sprintf("unexpected %q", kind))
	}
	if err == nil && n != nil && n.slot >= 0 {
		s.spans[n.slot] = span{start, s.pos, kind}
	}
	return err
}

func (s *scanner) object(n *node, depth int) error {
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if s.peek() != '"' {
			return s.fail("expected a key in quotes")
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		s.space()
		if s.peek() != ':' {
			return s.fail("expected a colon after the key")
		}
		s.pos++
		if err := s.value(n.named(key), depth+1); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return s.fail("expected a comma or the end of the object")
		}
	}
}

// named finds the child a key leads to. The key is as written, in quotes.
func (n *node) named(quoted []byte) *node {
	if n == nil || len(n.children) == 0 {
		return nil
	}
	key := quoted[1 : len(quoted)-1]
	for _, c := range key {
		if c == '\\' { // rare: let the library undo the escapes
			var plain string
			if json.Unmarshal(quoted, &plain) != nil {
				return nil
			}
			key = []byte(plain)
			break
		}
	}
	for _, c := range n.children {
		if string(key) == c.key {
			return c
		}
	}
	return nil
}

func (s *scanner) array(n *node, depth int) error {
	s.pos++
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for i := 0; ; i++ {
		if err := s.value(n.at(i), depth+1); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return s.fail("expected a comma or the end of the array")
		}
	}
}

// at finds the child for position i of an array.
func (n *node) at(i int) *node {
	if n != nil {
		for _, c := range n.children {
			if c.index == i {
				return c
			}
		}
	}
	return nil
}

// text reads a string and returns it as written, with its quotes.
func (s *scanner) text() ([]byte, error) {
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start:s.pos], nil
		case c < ' ':
			return nil, s.fail("control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.fail("string without an end")
}

// escape reads one escape sequence up to its last byte.
func (s *scanner) escape() error {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			s.pos++
			switch c := s.peek(); {
			case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			default:
				return s.fail("bad \\u escape")
			}
		}
		return nil
	}
	return s.fail("bad escape")
}

func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > from
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
		if s.peek() == 'I' {
			return s.word("Infinity")
		}
	}
	if s.peek() == '0' {
		s.pos++ // no digit may follow a leading zero
	} else if !s.digits() {
		return s.fail("expected a digit")
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.fail("expected a digit after the point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.fail("expected a digit in the exponent")
		}
	}
	return nil
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return s.fail("unknown word")
	}
	s.pos += len(w)
	return nil
}

// plain returns what stands in a slot, without the quotes of a string; empty if
// there is nothing.
func (s *scanner) plain(slot int) []byte {
	v := s.spans[slot]
	raw := s.data[v.start:v.end]
	if v.kind == '"' {
		raw = raw[1 : len(raw)-1]
	}
	return raw
}
