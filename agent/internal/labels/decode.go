package labels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// MaxBytes bounds the JSON of one label.
const MaxBytes = 16 << 10

// input is a Label as others write it: times as text, so that an error can name the
// field, and nothing that is not theirs to say.
type input struct {
	ID, Machine, Class, Episode, Order, By, Note string
	Kind                                         Kind
	At, From, To                                 string
	Right                                        *bool
}

// keys are the names of input's fields.
var keys = []string{"id", "machine", "kind", "class", "at", "from", "to", "episode", "right", "order", "by", "note"}

// Decode reads one label from JSON: one object with keys that a label has and times as
// in RFC 3339. What it says is judged by Check.
func Decode(body []byte) (Label, error) {
	if len(body) > MaxBytes {
		return Label{}, fmt.Errorf("read label: it has %d bytes; the most is %d", len(body), MaxBytes)
	}
	var in input
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return Label{}, explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Label{}, errors.New("read label: something follows the object; send one label at a time")
	}
	l := Label{
		ID: in.ID, Machine: in.Machine, Kind: in.Kind, Class: in.Class, Episode: in.Episode, Right: in.Right,
		Order: in.Order, By: in.By, Note: in.Note,
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"at", in.At, &l.At}, {"from", in.From, &l.From}, {"to", in.To, &l.To}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return Label{}, fmt.Errorf("read label: %s is %q; write a time with its zone, such as 2026-05-01T12:00:00Z", t.name, clip(t.text))
		}
		*t.to = at.UTC()
	}
	return l, nil
}

// explain says what is wrong in the words of a label.
func explain(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		key = strings.Trim(key, `"`)
		message := fmt.Sprintf("read label: it has no key %q", clip(key))
		if near := strictyaml.Nearest(key, keys); near != "" {
			return fmt.Errorf("%s; did you mean %q?", message, near)
		}
		return fmt.Errorf("%s; it has %s", message, strings.Join(keys, ", "))
	}
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		want := "text in quotes"
		if kind.Field == "Right" || kind.Field == "right" {
			want = "true or false"
		}
		return fmt.Errorf("read label: %s is a %s; it must be %s", strings.ToLower(kind.Field), kind.Value, want)
	case errors.As(err, &syntax):
		return fmt.Errorf("read label: it is not JSON from byte %d on: %w", syntax.Offset, err)
	case errors.Is(err, io.EOF):
		return errors.New(`read label: it is empty; send JSON such as {"machine": "pump-1", "kind": "failure"}`)
	}
	return fmt.Errorf(`read label: it is not a JSON object such as {"machine": "pump-1", "kind": "failure"}: %w`, err)
}
