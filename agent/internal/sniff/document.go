package sniff

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// leaf is a value in a JSON document and the path the agent's configuration spells it by.
type leaf struct {
	path  string
	value any // float64, string, bool, or []float64 for an array of numbers
}

// maxLeaves bounds what is taken from one document.
const maxLeaves = 256

// leaves lists the numbers, texts and arrays of numbers of a document, nil if it is none.
func leaves(payload []byte) []leaf {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var doc any
	if d.Decode(&doc) != nil || d.More() {
		return nil
	}
	var list []leaf
	collect(&list, nil, doc)
	slices.SortFunc(list, func(a, b leaf) int { return strings.Compare(a.path, b.path) })
	return list
}

func collect(list *[]leaf, path []string, doc any) {
	if len(*list) >= maxLeaves || len(path) > 8 {
		return
	}
	add := func(v any) { *list = append(*list, leaf{strings.Join(path, "."), v}) }
	switch v := doc.(type) {
	case map[string]any:
		for key, value := range v {
			collect(list, append(slices.Clone(path), escape(key)), value)
		}
	case []any:
		if numbers := floats(v); len(numbers) > 3 {
			add(numbers)
			return
		}
		for i, value := range v {
			collect(list, append(slices.Clone(path), strconv.Itoa(i)), value)
		}
	case json.Number:
		if x, err := v.Float64(); err == nil {
			add(x)
		}
	case string:
		add(v)
	case bool:
		add(v)
	}
}

// escape writes a key as a part of a path.
func escape(key string) string {
	return strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(key)
}

func floats(list []any) []float64 {
	out := make([]float64, 0, len(list))
	for _, v := range list {
		n, ok := v.(json.Number)
		if !ok {
			return nil
		}
		x, err := n.Float64()
		if err != nil {
			return nil
		}
		out = append(out, x)
	}
	return out
}

// number reads a value as the agent's decoder would: numbers, and text that is one.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
	}
	return 0, false
}

// last returns the key of a path: what comes after the last dot that is none of a key.
func last(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' && path[i-1] != '\\' {
			return strings.ReplaceAll(path[i+1:], `\`, "")
		}
	}
	return strings.ReplaceAll(path, `\`, "")
}

// typical returns the middle of the absolute values.
func typical(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	abs := make([]float64, len(x))
	for i, v := range x {
		abs[i] = math.Abs(v)
	}
	slices.Sort(abs)
	return abs[len(abs)/2]
}
