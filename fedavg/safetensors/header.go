package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// parseHeader reads the JSON token by token, which, other than unmarshalling
// into a map, keeps the order of tensors and notices repeated keys.
func parseHeader(data []byte, limits Limits) (header, error) {
	p := headerParser{limits: limits, seen: map[string]bool{}}
	if len(data) == 0 || data[0] != '{' {
		return header{}, &FormatError{Reason: "header does not begin with '{'"}
	}
	if !utf8.Valid(data) { // encoding/json would replace the bytes silently
		return header{}, &FormatError{Reason: "header is not UTF-8"}
	}
	p.dec = json.NewDecoder(bytes.NewReader(bytes.TrimRight(data, " ")))
	p.dec.UseNumber()
	if err := p.object(p.member); err != nil {
		return header{}, err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return header{}, &FormatError{Reason: "header has something after its JSON object"}
	}
	return p.header, p.header.arrange()
}

type headerParser struct {
	dec    *json.Decoder
	limits Limits
	header header
	seen   map[string]bool
}

func (p *headerParser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, &FormatError{Reason: "header is not JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	return t, nil
}

// object reads an object and calls member after each key.
func (p *headerParser) object(member func(key string) error) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return &FormatError{Reason: fmt.Sprintf("header has %v where an object belongs", t)}
	}
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return &FormatError{Reason: fmt.Sprintf("header has %v where a key belongs", t)}
		}
		if err := member(key); err != nil {
			return err
		}
	}
	_, err = p.token() // '}': More saw it, or the token is a syntax error
	return err
}

func (p *headerParser) member(key string) error {
	if p.seen[key] {
		return &FormatError{Tensor: key, Reason: "name is used twice"}
	}
	p.seen[key] = true
	if key == metadataKey {
		return p.metadata()
	}
	if key == "" {
		return &FormatError{Reason: "a tensor has an empty name"}
	}
	if len(p.header.tensors) >= p.limits.MaxTensors {
		return &LimitError{What: "tensors", Got: int64(p.limits.MaxTensors) + 1, Most: int64(p.limits.MaxTensors)}
	}
	return p.tensor(key)
}

func (p *headerParser) metadata() error {
	p.header.metadata = map[string]string{}
	return p.object(func(key string) error {
		if _, ok := p.header.metadata[key]; ok {
			return &FormatError{Reason: fmt.Sprintf("metadata %q is given twice", key)}
		}
		t, err := p.token()
		if err != nil {
			return err
		}
		value, ok := t.(string)
		if !ok {
			return &FormatError{Reason: fmt.Sprintf("metadata %q is not a string", key)}
		}
		p.header.metadata[key] = value
		return nil
	})
}

func (p *headerParser) tensor(name string) error {
	d := description{name: name}
	fields := map[string]bool{}
	var offsets []int64
	err := p.object(func(key string) error {
		if fields[key] {
			return &FormatError{Tensor: name, Reason: key + " is given twice"}
		}
		fields[key] = true
		var err error
		switch key {
		case "dtype":
			var t json.Token
			if t, err = p.token(); err == nil {
				d.dtype, _ = t.(string)
			}
		case "shape":
			var dims []int64
			dims, err = p.integers(name, key, maxDimensions)
			d.shape = make([]int, len(dims))
			for i, n := range dims {
				d.shape[i] = int(min(n, math.MaxInt)) // elements refuses what was cut
			}
		case "data_offsets":
			offsets, err = p.integers(name, key, 2)
		default:
			err = &FormatError{Tensor: name, Reason: fmt.Sprintf("unknown field %q", key)}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range []string{"dtype", "shape", "data_offsets"} {
		if !fields[f] {
			return &FormatError{Tensor: name, Reason: f + " is missing"}
		}
	}
	if err := d.check(offsets); err != nil {
		return err
	}
	p.header.tensors = append(p.header.tensors, d)
	return nil
}

// check compares the shape with the offsets and stores these.
func (d *description) check(offsets []int64) error {
	size := int64(4)
	switch d.dtype {
	case dtypeF32:
	case dtypeF64:
		size = 8
	default:
		return &FormatError{Tensor: d.name, Reason: fmt.Sprintf("element type %q is not supported; F32 and F64 are", d.dtype)}
	}
	n, err := elements(d.shape)
	if err != nil {
		return &FormatError{Tensor: d.name, Reason: err.Error()}
	}
	if len(offsets) != 2 {
		return &FormatError{Tensor: d.name, Reason: "data_offsets is not a pair"}
	}
	d.begin, d.end = offsets[0], offsets[1]
	if d.begin > d.end || d.end-d.begin != size*int64(n) {
		return &FormatError{Tensor: d.name, Reason: fmt.Sprintf("shape %v of %s does not fill data_offsets %v", d.shape, d.dtype, offsets)}
	}
	return nil
}

// integers reads an array of at most most non-negative integers.
func (p *headerParser) integers(tensor, field string, most int) ([]int64, error) {
	wrong := &FormatError{Tensor: tensor, Reason: fmt.Sprintf("%s is not an array of at most %d non-negative integers", field, most)}
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('[') {
		return nil, wrong
	}
	var ns []int64
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		number, ok := t.(json.Number)
		if !ok || len(ns) == most {
			return nil, wrong
		}
		n, err := number.Int64()
		if err != nil || n < 0 {
			return nil, wrong
		}
		ns = append(ns, n)
	}
	_, err = p.token() // ']'
	return ns, err
}
