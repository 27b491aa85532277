package fedavg

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// bigOf is f as an exact rational number.
func bigOf(f fixed) *big.Float {
	x := new(big.Int).Lsh(big.NewInt(f.hi), 64)
	x.Add(x, new(big.Int).SetUint64(f.lo))
	y := new(big.Float).SetPrec(200).SetInt(x)
	return y.SetMantExp(y, -64)
}

// finiteBelow draws float64 of every magnitude below 2^62.
func finiteBelow(t *rapid.T, label string) float64 {
	e := rapid.IntRange(-140, 61).Draw(t, label+"_exponent")
	m := rapid.Float64Range(1, math.Nextafter(2, 1)).Draw(t, label+"_mantissa")
	return math.Copysign(math.Ldexp(m, e), rapid.Float64Range(-1, 1).Draw(t, label+"_sign"))
}

// math/big is the independent reference.
func TestFixed_TruncatesTowardZero(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, x float64) {
		want, _ := new(big.Float).SetPrec(200).SetMantExp(big.NewFloat(x), 64).Int(nil) // Int truncates toward zero
		wantUnits := new(big.Float).SetPrec(200).SetInt(want)
		if got := bigOf(toFixed(x)); got.Cmp(wantUnits.SetMantExp(wantUnits, -64)) != 0 {
			t.Fatalf("toFixed(%v) = %v, want %v", x, got, wantUnits)
		}
	}
	for _, x := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1 << 61, -(1 << 61), 0x1p-64, -0x1p-64, 0x1.8p-64, 0x1p-65,
		math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 0x1p-1022, math.Nextafter(fixedLimit, 0), -math.Nextafter(fixedLimit, 0)} {
		check(t, x)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, finiteBelow(t, "x")) })
}

func TestFixed_FloatRoundsToNearest(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, f fixed) {
		want, _ := bigOf(f).Float64() // nearest, ties to even
		if got := f.float(); got != want {
			t.Fatalf("%+v: got %v, want %v", f, got, want)
		}
	}
	for _, f := range []fixed{{}, {0, 1}, {-1, math.MaxUint64}, {math.MaxInt64, math.MaxUint64}, {math.MinInt64, 0}, {math.MinInt64, 1},
		{1 << 53, 1 << 63}, {1<<53 + 1, 1 << 63}, {1 << 53, 1<<63 + 1}, {1 << 54, 2}, {-1, 0}} {
		check(t, f)
	}
	rapid.Check(t, func(t *rapid.T) {
		hi := rapid.Int64().Draw(t, "hi") >> rapid.IntRange(0, 63).Draw(t, "shift")
		check(t, fixed{hi, rapid.Uint64().Draw(t, "lo")})
	})
}

func TestFixed_AddAndSub(t *testing.T) {
	most := new(big.Float).SetMantExp(big.NewFloat(1), 63)
	fits := func(x *big.Float) bool {
		return x.Cmp(most) < 0 && x.Cmp(new(big.Float).Neg(most)) >= 0
	}
	rapid.Check(t, func(t *rapid.T) {
		f := fixed{rapid.Int64().Draw(t, "f.hi"), rapid.Uint64().Draw(t, "f.lo")}
		g := fixed{rapid.Int64().Draw(t, "g.hi"), rapid.Uint64().Draw(t, "g.lo")}
		sum := new(big.Float).SetPrec(200).Add(bigOf(f), bigOf(g))
		if got, over := f.add(g); over == fits(sum) || !over && bigOf(got).Cmp(sum) != 0 {
			t.Fatalf("sum %v, overflow %v, want %v", bigOf(got), over, sum)
		}
		difference := new(big.Float).SetPrec(200).Sub(bigOf(f), bigOf(g))
		if got, over := f.sub(g); over == fits(difference) || !over && bigOf(got).Cmp(difference) != 0 {
			t.Fatalf("difference %v, overflow %v, want %v", bigOf(got), over, difference)
		}
	})
}
