package bearing

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Entry is one bearing of the catalogue.
type Entry struct {
	Number   string // basic designation, such as 6205
	Geometry Geometry
	Source   string // where the geometry is from
}

// Sources of the catalogue. Makers differ: bearings of one number have the same bore,
// width and outside diameter (ISO 15), and not always the same balls; 6306 is made with 7
// and with 8. Who knows the geometry of the bearing at hand should configure that.
const (
	caseWestern = "Case Western Reserve University Bearing Data Center, bearing information"
	paderborn   = "C. Lessmeier et al., Condition monitoring of bearing damage in electromechanical drive systems by using motor current signals, PHM Society European Conference 2016"
	// The table gives frequency coefficients only. The pitch diameter is the mean of
	// bore and outside diameter (ISO 15), the ball the inch size that then gives them.
	timken = "Timken ball bearing housed units catalogue, page A-13, table A-9, frequency coefficients of the wide-inner-ring bearing of this size"
	// Row 305K repeats another row but for its cage frequency, which is used.
	timkenCage = timken + " (cage frequency only)"
)

func ball(number string, n int, d, pitch float64, source string) Entry {
	return Entry{number, Geometry{Balls: n, BallDiameterMM: d, PitchDiameterMM: pitch}, source}
}

const inch = 25.4

// entries is sorted by number.
func entries() []Entry {
	return []Entry{
		ball("6203", 8, 6.75, 28.55, paderborn),
		ball("6204", 8, inch*5/16, 33.5, timken),
		ball("6205", 9, 7.94, 39.04, caseWestern),
		ball("6206", 9, inch*3/8, 46, timken),
		ball("6207", 9, inch*7/16, 53.5, timken),
		ball("6208", 9, inch*1/2, 60, timken),
		ball("6209", 9, inch*1/2, 65, timken),
		ball("6210", 10, inch*1/2, 70, timken),
		ball("6211", 10, inch*9/16, 77.5, timken),
		ball("6212", 10, inch*5/8, 85, timken),
		ball("6303", 7, inch*11/32, 32, timken),
		ball("6304", 7, inch*3/8, 36, timken),
		ball("6305", 7, inch*29/64, 43.5, timkenCage),
		ball("6306", 7, inch*17/32, 51, timken),
		ball("6307", 8, inch*9/16, 57.5, timken),
		ball("6308", 8, inch*5/8, 65, timken),
		ball("6309", 8, inch*11/16, 72.5, timken),
		ball("6310", 8, inch*3/4, 80, timken),
	}
}

// Lookup returns the catalogue's entry for a designation. Makers' names, suffixes
// for seals, cages and clearance, case and spaces do not matter: "SKF 6205-2RS/C3" is
// 6205. An unknown one is an *UnknownError.
func Lookup(designation string) (Entry, error) {
	number := basic(designation)
	all := entries()
	for _, e := range all {
		if e.Number == number {
			return e, nil
		}
	}
	u := &UnknownError{Designation: designation}
	best := int(^uint(0) >> 1)
	for _, e := range all {
		if d := levenshtein.ComputeDistance(number, e.Number); d < best {
			u.Nearest, best = e.Number, d
		}
	}
	return Entry{}, u
}

// Catalogue returns all entries, sorted by number.
func Catalogue() []Entry { return entries() }

// basic takes maker and suffixes off a designation.
func basic(designation string) string {
	s := strings.ToUpper(strings.TrimSpace(designation))
	if len(s) > 40 {
		s = s[:40]
	}
	if s != "" && (s[0] < '0' || s[0] > '9') { // the maker, up to the first number
		for i := 1; i < len(s); i++ {
			if s[i-1] == ' ' && s[i] >= '0' && s[i] <= '9' {
				s = s[i:]
				break
			}
		}
	}
	if i := strings.IndexAny(s, " -/."); i > 0 {
		s = s[:i]
	}
	// 6205ZZ, 6205C3, 62052RS: basic numbers of these series have four digits.
	if n := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); n >= 4 {
		s = s[:4]
	}
	return s
}

// UnknownError names a bearing that is not in the catalogue and the nearest that is.
type UnknownError struct{ Designation, Nearest string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("find bearing %q: not in the catalogue; did you mean %s? Else give its geometry: number of balls, ball and pitch diameter, contact angle", e.Designation, e.Nearest)
}
