package fedavg

import (
	"fmt"
	"slices"
)

// EncodeState returns the state of a strategy as a safetensors file. The same
// state gives the same bytes.
func EncodeState(state []Vector) ([]byte, error) {
	if err := LayoutOf(state).Check(state); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	if err := checkFinite(nil, state); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return encode("state", state, nil, map[string]string{"kind": kindState})
}

// DecodeState reads what EncodeState wrote. It must fit layout, the strategy's
// StateLayout, and be finite.
func DecodeState(data []byte, layout Layout) ([]Vector, error) {
	_, state, err := decode("state", kindState, data, slices.Concat(Layout{}, layout))
	if err != nil {
		return nil, err
	}
	if err := layout.Check(state); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if err := checkFinite(nil, state); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return state, nil
}

// copyState returns a copy of state, or zero vectors of layout if it is nil.
func copyState(state []Vector, layout Layout) ([]Vector, error) {
	fresh := layout.New()
	if state == nil {
		return fresh, nil
	}
	if err := layout.Check(state); err != nil {
		return nil, fmt.Errorf("aggregate: state of the round before: %w", err)
	}
	if err := checkFinite(nil, state); err != nil {
		return nil, fmt.Errorf("aggregate: state of the round before: %w", err)
	}
	for i, v := range state {
		copy(fresh[i].F32, v.F32)
		copy(fresh[i].F64, v.F64)
	}
	return fresh, nil
}

// prefixed returns layout with prefix before every name.
func (l Layout) prefixed(prefix string) Layout {
	out := slices.Clone(l)
	for i := range out {
		out[i].Name = prefix + out[i].Name
	}
	return out
}
