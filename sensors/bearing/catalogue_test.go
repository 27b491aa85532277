package bearing

import (
	"errors"
	"math"
	"testing"
)

// Case Western Reserve University gives for its 6205-2RS: BPFO 3.5848, BPFI 5.4152, FTF
// 0.39828 and, counted at twice BSF, 4.7135 per turn of the shaft.
func TestLookup_CaseWestern(t *testing.T) {
	e, err := Lookup("SKF 6205-2RS JEM")
	if err != nil {
		t.Fatal(err)
	}
	g := e.Geometry
	for name, v := range map[string][2]float64{
		"BPFO": {g.BPFO(1), 3.5848}, "BPFI": {g.BPFI(1), 5.4152}, "2·BSF": {2 * g.BSF(1), 4.7135}, "FTF": {g.FTF(1), 0.39828},
	} {
		if math.Abs(v[0]-v[1]) > 0.0005 {
			t.Errorf("%s = %.5f, want %.5f", name, v[0], v[1])
		}
	}
}

// The printed coefficients (three decimals): FTF, BSF, BPFO, BPFI.
func TestLookup_TimkenCoefficients(t *testing.T) {
	for number, want := range map[string][4]float64{
		"6203": {0.382, 1.994, 3.053, 4.947}, "6204": {0.382, 1.992, 3.052, 4.948}, "6206": {0.396, 2.311, 3.568, 5.432},
		"6207": {0.396, 2.303, 3.565, 5.435}, "6208": {0.394, 2.256, 3.547, 5.453}, "6209": {0.402, 2.461, 3.621, 5.379},
		"6210": {0.409, 2.665, 4.093, 5.907}, "6211": {0.408, 2.620, 4.078, 5.922}, "6212": {0.407, 2.584, 4.066, 5.934},
		"6303": {0.364, 1.696, 2.545, 4.455}, "6304": {0.368, 1.757, 2.574, 4.426}, "6306": {0.368, 1.757, 2.574, 4.426},
		"6307": {0.376, 1.888, 3.006, 4.994}, "6308": {0.378, 1.925, 3.023, 4.977}, "6309": {0.380, 1.955, 3.037, 4.963},
		"6310": {0.381, 1.981, 3.047, 4.953},
	} {
		e, err := Lookup(number)
		if err != nil {
			t.Error(err)
			continue
		}
		g := e.Geometry
		for i, got := range []float64{g.FTF(1), g.BSF(1), g.BPFO(1), g.BPFI(1)} {
			if math.Abs(got-want[i]) > 0.003 {
				t.Errorf("%s: coefficient %d is %.4f, printed %.3f", number, i, got, want[i])
			}
		}
	}
	e, _ := Lookup("6305")
	if math.Abs(e.Geometry.FTF(1)-0.367) > 0.001 {
		t.Errorf("6305: cage %.4f, printed 0.367", e.Geometry.FTF(1))
	}
}

func TestCatalogue_Sane(t *testing.T) {
	last := ""
	for _, e := range Catalogue() {
		if err := e.Geometry.Validate(); err != nil {
			t.Errorf("%s: %v", e.Number, err)
		}
		// What holds for every bearing: BPFO + BPFI = n times the shaft, BPFO = n·FTF.
		g, n := e.Geometry, float64(e.Geometry.Balls)
		if math.Abs(g.BPFO(1)+g.BPFI(1)-n) > 1e-12 || math.Abs(g.BPFO(1)-n*g.FTF(1)) > 1e-12 {
			t.Errorf("%s: BPFO %g, BPFI %g, FTF %g", e.Number, g.BPFO(1), g.BPFI(1), g.FTF(1))
		}
		if e.Number <= last || e.Source == "" {
			t.Errorf("%s after %s, source %q", e.Number, last, e.Source)
		}
		last = e.Number
	}
}

func TestLookup_Spelling(t *testing.T) {
	for _, s := range []string{"6205", "6205-2RS", "SKF 6205-2RS/C3", "nsk 6205ddu", "6205zz", "62052RS", " FAG 6205 2Z ", "6205.C3"} {
		if e, err := Lookup(s); err != nil || e.Number != "6205" {
			t.Errorf("Lookup(%q) = %v, %v", s, e.Number, err)
		}
	}
	for s, nearest := range map[string]string{"6295": "6205", "NU 205": "6205", "": "", "ä": "", "6": ""} {
		_, err := Lookup(s)
		var u *UnknownError
		if !errors.As(err, &u) || nearest != "" && u.Nearest != nearest || u.Nearest == "" {
			t.Errorf("Lookup(%q): %v", s, err)
		}
	}
}

func TestValidate_Refuses(t *testing.T) {
	good := Geometry{9, 7.94, 39.04, 0}
	for name, change := range map[string]func(*Geometry){
		"balls": func(g *Geometry) { g.Balls = 2 }, "no ball": func(g *Geometry) { g.BallDiameterMM = 0 },
		"nan": func(g *Geometry) { g.PitchDiameterMM = math.NaN() }, "inf": func(g *Geometry) { g.PitchDiameterMM = math.Inf(1) },
		"angle": func(g *Geometry) { g.ContactAngleRad = 1.6 }, "crowded": func(g *Geometry) { g.Balls = 16 },
	} {
		g := good
		change(&g)
		if g.Validate() == nil {
			t.Errorf("%s: %+v is accepted", name, g)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("SKF 6205-2RS/C3")
	f.Add("ZA-2115")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Lookup(s)
		if (err == nil) != (e.Number != "") {
			t.Errorf("Lookup(%q) = %+v, %v", s, e, err)
		}
	})
}
