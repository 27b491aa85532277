package web

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// luminance is the relative luminance of #rrggbb or #rgb (WCAG 2.2, definitions).
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	if len(colour) == 4 {
		colour = string([]byte{'#', colour[1], colour[1], colour[2], colour[2], colour[3], colour[3]})
	}
	n, err := strconv.ParseUint(colour[1:], 16, 32)
	if err != nil || len(colour) != 7 {
		t.Fatalf("colour %q", colour)
	}
	linear := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

// Text is readable by day and by night: at least 4.5 to 1 (WCAG 2.2, 1.4.3 AA),
// marks and outlines 3 to 1 (1.4.11).
func TestStyle_Contrast(t *testing.T) {
	css, err := os.ReadFile("static/app.css")
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllSubmatch(css, -1)
	if len(roots) != 2 {
		t.Fatalf("%d palettes, want light and dark", len(roots))
	}
	for i, name := range []string{"light", "dark"} {
		palette := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]+);`).FindAllSubmatch(roots[i][1], -1) {
			palette[string(m[1])] = string(m[2])
		}
		check := func(front, back string, least float64) {
			a, b := luminance(t, palette[front]), luminance(t, palette[back])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < least {
				t.Errorf("%s: %s %s on %s %s is %.2f to 1, want %.1f", name, front, palette[front], back, palette[back], ratio, least)
			}
		}
		for _, back := range []string{"bg", "panel", "soft", "hot", "now"} {
			for _, front := range []string{"text", "dim", "accent", "d", "c"} {
				check(front, back, 4.5)
			}
			check("none", back, 3)
		}
		for _, zone := range []string{"a", "b", "c", "d"} {
			check("on-zone", zone, 4.5)
			check(zone, "panel", 4.5) // tags, and badges of gateways that are not connected
		}
		check("mark", "line", 3)
	}
}
