package fedavg

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/millwright-iot/millwright/fedavg/safetensors"
)

// Global is one version of a job's global model, with what must be known to use
// and to audit it.
type Global struct {
	Job     string
	Version uint64 // 0 is the initial model
	// SpecDigest is the digest of the job.Spec the parameters were learned under.
	SpecDigest string
	// Base is the SHA-256 of the version this one was made from; empty for version 0.
	Base         string
	Round        uint64 // round that committed it
	Attempt      uint32
	Seed         uint64
	Weight       float64 // feature vectors learned from in that round; 0 for version 0
	Participants int
	Metrics      map[string]float64
	// Data is the sum modulo 2²⁵⁶ of the updates' data digests, 64 hex digits; empty if
	// they told none. Two models with the same job digest, seed, base and data are the same.
	Data string
	// State is the SHA-256 of the blob that holds the strategy's state after that
	// round (see EncodeState); empty if the strategy keeps none.
	State   string
	Vectors []Vector
}

// The kinds of blob, in the metadata under "kind". The number is the version of
// the metadata.
const (
	kindUpdate = "millwright.update.1"
	kindGlobal = "millwright.global.1"
	kindState  = "millwright.state.1"
)

// EncodeUpdate returns u as a safetensors file: one tensor per vector, in their
// order, everything else in the metadata. The same update gives the same bytes.
// It refuses what DecodeUpdate would.
func EncodeUpdate(u *Update) ([]byte, error) {
	if err := u.Verify(LayoutOf(u.Vectors)); err != nil {
		return nil, fmt.Errorf("encode update: %w", err)
	}
	fields := map[string]string{
		"kind":    kindUpdate,
		"job":     u.Job,
		"round":   strconv.FormatUint(u.Round, 10),
		"attempt": strconv.FormatUint(uint64(u.Attempt), 10),
		"agent":   u.Agent,
		"base":    u.Base,
		"weight":  strconv.FormatFloat(u.Weight, 'g', -1, 64),
	}
	if u.Data != "" {
		fields["data"] = u.Data
	}
	if u.Steps != 0 {
		fields["steps"] = strconv.FormatFloat(u.Steps, 'g', -1, 64)
	}
	return encode("update", u.Vectors, u.Metrics, fields)
}

// DecodeUpdate reads what EncodeUpdate wrote and verifies it against layout (see
// Update.Verify). A nil layout stands for whatever the file holds. The update
// shares no memory with data. Data larger than layout can need is refused before
// anything is allocated.
func DecodeUpdate(data []byte, layout Layout) (*Update, error) {
	m, vectors, err := decode("update", kindUpdate, data, layout)
	if err != nil {
		return nil, err
	}
	u, err := m.update()
	if err != nil {
		return nil, fmt.Errorf("decode update: %w", err)
	}
	u.Vectors = vectors
	if layout == nil {
		layout = LayoutOf(vectors)
	}
	if err := u.Verify(layout); err != nil {
		return nil, fmt.Errorf("decode update: %w", err)
	}
	return u, nil
}

// update is the update that m describes, without its vectors.
func (m *metadata) update() (*Update, error) {
	u := &Update{
		Job: m.text("job"), Round: m.uint("round", 64), Agent: m.text("agent"), Attempt: uint32(m.uint("attempt", 32)),
		Base: m.text("base"), Weight: m.float("weight"), Metrics: m.metrics(), Data: m.fields["data"],
	}
	if _, ok := m.fields["steps"]; ok {
		u.Steps = m.float("steps")
	}
	return u, m.err
}

// EncodeGlobal returns g as a safetensors file, as EncodeUpdate does for updates.
func EncodeGlobal(g *Global) ([]byte, error) {
	if err := g.verify(LayoutOf(g.Vectors)); err != nil {
		return nil, fmt.Errorf("encode global model: %w", err)
	}
	fields := map[string]string{
		"kind":         kindGlobal,
		"job":          g.Job,
		"version":      strconv.FormatUint(g.Version, 10),
		"spec_digest":  g.SpecDigest,
		"base":         g.Base,
		"round":        strconv.FormatUint(g.Round, 10),
		"attempt":      strconv.FormatUint(uint64(g.Attempt), 10),
		"seed":         strconv.FormatUint(g.Seed, 10),
		"weight":       strconv.FormatFloat(g.Weight, 'g', -1, 64),
		"participants": strconv.Itoa(g.Participants),
	}
	if g.Data != "" {
		fields["data"] = g.Data
	}
	if g.State != "" {
		fields["state"] = g.State
	}
	return encode("global model", g.Vectors, g.Metrics, fields)
}

// DecodeGlobal reads what EncodeGlobal wrote and verifies that it fits layout,
// or any layout if nil, and that every number is finite.
func DecodeGlobal(data []byte, layout Layout) (*Global, error) {
	m, vectors, err := decode("global model", kindGlobal, data, layout)
	if err != nil {
		return nil, err
	}
	g := &Global{
		Job: m.text("job"), Version: m.uint("version", 64), SpecDigest: m.text("spec_digest"), Base: m.text("base"),
		Round: m.uint("round", 64), Attempt: uint32(m.uint("attempt", 32)), Seed: m.uint("seed", 64), Weight: m.float("weight"),
		Participants: int(m.uint("participants", 31)), Metrics: m.metrics(), Data: m.fields["data"], State: m.fields["state"], Vectors: vectors,
	}
	if m.err != nil {
		return nil, fmt.Errorf("decode global model: %w", m.err)
	}
	if layout == nil {
		layout = LayoutOf(vectors)
	}
	if err := g.verify(layout); err != nil {
		return nil, fmt.Errorf("decode global model: %w", err)
	}
	return g, nil
}

func (g *Global) verify(layout Layout) error {
	if err := layout.Check(g.Vectors); err != nil {
		return err
	}
	if !(g.Weight >= 0) || math.IsInf(g.Weight, 0) {
		return &ValueError{Vector: "weight", Value: g.Weight}
	}
	if _, err := parseData(g.Data); err != nil {
		return err
	}
	if g.Participants < 0 {
		return fmt.Errorf("participants is %d", g.Participants)
	}
	return checkFinite(g.Metrics, g.Vectors)
}

// LayoutOf returns the layout that vs have.
func LayoutOf(vs []Vector) Layout {
	l := make(Layout, len(vs))
	for i, v := range vs {
		l[i] = VectorSpec{Name: v.Name, DType: v.DType(), Len: v.Len()}
	}
	return l
}

func encode(what string, vectors []Vector, metrics map[string]float64, metadata map[string]string) ([]byte, error) {
	text, err := json.Marshal(metrics) // finite, so it cannot fail; keys come sorted
	if err != nil {
		return nil, fmt.Errorf("encode %s: metrics: %w", what, err)
	}
	metadata["metrics"] = string(text)
	f := safetensors.File{Metadata: metadata, Tensors: make([]safetensors.Tensor, len(vectors))}
	for i, v := range vectors {
		f.Tensors[i] = safetensors.Tensor{Name: v.Name, F32: v.F32, F64: v.F64}
	}
	data, err := safetensors.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return data, nil
}

// maxHeaderBytes bounds names and metadata of a blob.
const maxHeaderBytes = 1 << 20

func decode(what, kind string, data []byte, layout Layout) (*metadata, []Vector, error) {
	limits := safetensors.Limits{MaxBytes: math.MaxInt64, MaxHeaderBytes: maxHeaderBytes}
	if layout != nil {
		limits.MaxBytes = maxHeaderBytes + 16 + layout.Bytes()
		limits.MaxTensors = max(len(layout), 1)
	}
	f, err := safetensors.Decode(data, limits)
	if err != nil {
		return nil, nil, fmt.Errorf("decode %s: %w", what, err)
	}
	m := &metadata{fields: f.Metadata}
	if got := f.Metadata["kind"]; got != kind {
		return nil, nil, fmt.Errorf("decode %s: file is of kind %q, not %q", what, got, kind)
	}
	vectors := make([]Vector, len(f.Tensors))
	for i, t := range f.Tensors {
		if len(t.Shape) != 1 {
			return nil, nil, fmt.Errorf("decode %s: tensor %q has %d dimensions, not 1", what, t.Name, len(t.Shape))
		}
		vectors[i] = Vector{Name: t.Name, F32: t.F32, F64: t.F64}
	}
	return m, vectors, nil
}

// metadata reads typed fields and keeps the first error.
type metadata struct {
	fields map[string]string
	err    error
}

func (m *metadata) text(key string) string {
	s, ok := m.fields[key]
	if !ok {
		m.fail(key, errors.New("is missing"))
	}
	return s
}

func (m *metadata) uint(key string, bits int) uint64 {
	n, err := strconv.ParseUint(m.text(key), 10, bits)
	m.fail(key, err)
	return n
}

func (m *metadata) float(key string) float64 {
	x, err := strconv.ParseFloat(m.text(key), 64)
	m.fail(key, err)
	return x
}

func (m *metadata) metrics() map[string]float64 {
	var metrics map[string]float64
	m.fail("metrics", json.Unmarshal([]byte(m.text("metrics")), &metrics))
	return metrics
}

func (m *metadata) fail(key string, err error) {
	if err != nil && m.err == nil {
		m.err = fmt.Errorf("metadata %q: %w", key, err)
	}
}
