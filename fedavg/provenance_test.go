package fedavg

import (
	"strings"
	"testing"
)

// digests and their sums, by Python: hex((a + b) % 2**256).
const (
	digestA = "ffffffffffffffffffffffffffffffff00000000000000000000000000000001"
	digestB = "00000000000000000000000000000001ffffffffffffffffffffffffffffffff"
	sumAB   = "0000000000000000000000000000000100000000000000000000000000000000"
)

func withData(agent, data string) *Update {
	return &Update{Job: "j", Agent: agent, Weight: 1, Data: data, Vectors: []Vector{{Name: "w", F32: []float32{1, 2}}}}
}

func TestStrategy_SumsDataDigests(t *testing.T) {
	global := []Vector{{Name: "w", F32: []float32{0, 0}}}
	for _, us := range []Slice{
		{withData("a", digestA), withData("b", digestB), withData("c", "")},
		{withData("c", ""), withData("b", digestB), withData("a", digestA)},
	} {
		r, err := FedAvg{}.Aggregate(global, nil, us)
		if err != nil || r.Data != sumAB {
			t.Errorf("data %q (%v), want %q", r.Data, err, sumAB)
		}
	}
	if r, err := (FedAvg{}).Aggregate(global, nil, Slice{withData("c", "")}); err != nil || r.Data != "" {
		t.Errorf("of updates that tell none: %q, %v", r.Data, err)
	}
}

func TestAccumulator_DataOverMergeSubtractAndFile(t *testing.T) {
	layout := Layout{{Name: "w", DType: Float32, Len: 2}}
	a, b, read := newAccumulator(t, layout), newAccumulator(t, layout), newAccumulator(t, layout)
	for _, err := range []error{a.Add(withData("a", digestA)), b.Add(withData("b", digestB)), a.Merge(b), read.UnmarshalBinary(marshal(t, a))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if read.Data() != sumAB {
		t.Fatalf("merged and read: %q", read.Data())
	}
	if err := read.Sub(withData("b", digestB)); err != nil || read.Data() != digestA {
		t.Errorf("less one: %q, %v", read.Data(), err)
	}
}

func TestBlob_Data(t *testing.T) {
	u := withData("a", digestA)
	u.Base = strings.Repeat("0", 64)
	blob, err := EncodeUpdate(u)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeUpdate(blob, nil); err != nil || got.Data != digestA {
		t.Errorf("update: %+v, %v", got, err)
	}
	g := &Global{Job: "j", SpecDigest: "d", Data: sumAB, Vectors: u.Vectors}
	if blob, err = EncodeGlobal(g); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeGlobal(blob, nil); err != nil || got.Data != sumAB {
		t.Errorf("global model: %+v, %v", got, err)
	}
	for _, bad := range []string{"x", digestA[1:], strings.ToUpper(digestA), digestA + "00"} {
		if _, err := EncodeUpdate(withData("a", bad)); err == nil {
			t.Errorf("digest %q was accepted in an update", bad)
		}
		g.Data = bad
		if _, err := EncodeGlobal(g); err == nil {
			t.Errorf("digest %q was accepted in a model", bad)
		}
	}
}
