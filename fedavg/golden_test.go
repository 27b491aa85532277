package fedavg

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestFedAvg_SameOnEveryProcessor pins the bytes of a round's result. The numbers are
// made from integers only, so that they are the same everywhere; the digest was
// recorded on amd64 and holds on arm64, 32-bit ARM and 386 too.
func TestFedAvg_SameOnEveryProcessor(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	number := func() float32 { return float32(int64(r.Uint64())>>20) / (1 << 40) }
	layout := Layout{{Name: "w", DType: Float32, Len: 5000}, {Name: "b", DType: Float32, Len: 7}}
	vectors := func() []Vector {
		vs := layout.New()
		for _, v := range vs {
			for i := range v.F32 {
				v.F32[i] = number()
			}
		}
		return vs
	}
	global := vectors()
	var us Slice
	for range 13 {
		us = append(us, &Update{Weight: float64(1+r.IntN(1000)) / 8, Vectors: vectors(), Metrics: map[string]float64{"loss": float64(number())}})
	}
	got, err := FedAvg{}.Aggregate(global, nil, us)
	if err != nil {
		t.Fatal(err)
	}
	data, err := EncodeGlobal(&Global{Vectors: got.Vectors, Weight: got.Weight, Participants: got.Participants, Metrics: got.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if hex := hex.EncodeToString(sum[:]); hex != "bce4a41994b4df9607ed29315f625964a71e3cbe13419f571b42be6e18ab776b" {
		t.Errorf("digest %s", hex)
	}
}

// TestStrategies_SameOnEveryProcessor does the same for every strategy, two rounds
// with state where there is any.
func TestStrategies_SameOnEveryProcessor(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	layout := Layout{{Name: "w", DType: Float32, Len: 1000}, {Name: "b", DType: Float32, Len: 7}}
	var us Slice
	for k := range 15 {
		u := &Update{Agent: fmt.Sprintf("agent-%02d", k), Weight: float64(1 + r.IntN(1000)), Steps: float64(1 + r.IntN(50)), Staleness: r.IntN(5), Vectors: layout.New()}
		for _, v := range u.Vectors {
			for i := range v.F32 {
				v.F32[i] = float32(int64(r.Uint64())>>20) / (1 << 40)
			}
		}
		us = append(us, u)
	}
	h := sha256.New()
	for _, s := range gradientStrategies(2) {
		x, state := layout.New(), []Vector(nil)
		for range 2 {
			got := mustAggregate(t, s, x, state, us)
			x, state = got.Vectors, got.State
		}
		data, err := EncodeState(append(x, state...))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(data)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != "8df7d4bccca212e652fd7c20118c89be4965ee866f50a4866add5335d99c76d0" {
		t.Errorf("digest %s", got)
	}
}
