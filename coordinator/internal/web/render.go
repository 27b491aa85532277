package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/*
var staticFiles embed.FS

// view is what one address shows at one instant.
type view struct {
	Status int
	Title  string
	Nav    *piece
	Body   string // name of the template inside <main>
	Data   any    // its data, holding some of the pieces
	pieces []*piece
	alarms int // active ones, for the title
}

// documentTitle starts with the number of active alarms, as a tab in the
// background shows little else.
func (v *view) documentTitle() string {
	if v.alarms > 0 {
		return fmt.Sprintf("(%d) %s · Millwright", v.alarms, v.Title)
	}
	return v.Title + " · Millwright"
}

// piece is a part of a view that the browser replaces alone when nothing else
// changed. Its template makes one element with this ID.
type piece struct {
	ID   string
	Data any
	tmpl string
	html template.HTML // set by render; empty inside a frame
}

// HTML is the rendered piece, for the template around it.
func (p *piece) HTML() template.HTML { return p.html }

// renderer holds what is the same for every request.
type renderer struct {
	templates *template.Template
	assets    *assets
}

func newRenderer() *renderer {
	return &renderer{
		// The files are part of the binary: failing to parse is a programmer's mistake.
		templates: template.Must(template.New("").ParseFS(templateFiles, "templates/*.html")),
		assets:    loadAssets(),
	}
}

func (r *renderer) execute(name string, data any) (string, error) {
	var b strings.Builder
	if err := r.templates.ExecuteTemplate(&b, name, data); err != nil {
		return "", err
	}
	return b.String(), nil
}

// main renders the body of v, its pieces rendered before, within <main>.
func (r *renderer) main(v *view) (string, error) {
	body, err := r.execute(v.Body, v.Data)
	if err != nil {
		return "", err
	}
	return r.execute("main", template.HTML(body)) // escaped by its own template
}

func (r *renderer) render(pieces []*piece) error {
	for _, p := range pieces {
		html, err := r.execute(p.tmpl, p)
		if err != nil {
			return err
		}
		p.html = template.HTML(html)
	}
	return nil
}

// rendered is a view in parts.
type rendered struct {
	frame  string // the body without its pieces
	pieces []renderedPiece
}

type renderedPiece struct {
	swap
	inMain bool
}

// parts renders the frame of v first and then every piece.
func (r *renderer) parts(v *view) (rendered, error) {
	frame, err := r.main(v)
	if err != nil {
		return rendered{}, err
	}
	if err := r.render(v.pieces); err != nil {
		return rendered{}, err
	}
	out := rendered{frame: frame}
	for _, p := range v.pieces {
		// Which pieces there are, and in which order, is part of the frame.
		out.frame += "\n" + p.ID
		out.pieces = append(out.pieces, renderedPiece{swap: swap{ID: p.ID, HTML: string(p.html)}, inMain: p != v.Nav})
	}
	return out, nil
}

// document writes the whole page.
func (r *renderer) document(w *bytes.Buffer, v *view, snap *fleet.Snapshot, zone *time.Location) error {
	if err := r.render(v.pieces); err != nil {
		return err
	}
	main, err := r.main(v)
	if err != nil {
		return err
	}
	c := clock{now: snap.At, zone: zone}
	return r.templates.ExecuteTemplate(w, "layout", struct {
		Title, Version, Zone, Assets string
		Nav, Main                    template.HTML
		Taken, Started               stamp
		NowMillis                    int64
	}{
		Title: v.documentTitle(), Version: snap.Version, Zone: formatZone(snap.At.In(zone)), Assets: r.assets.version,
		Nav: v.Nav.html, Main: template.HTML(main),
		Taken: c.stamp(snap.At), Started: c.stamp(snap.Started), NowMillis: snap.At.UnixMilli(),
	})
}

// assets are the style sheet, the script and the icon. Their addresses carry the
// version, so that a browser keeps them for good and a new binary shows at once.
type assets struct {
	files   map[string][]byte // by name
	version string            // of all files together
}

func loadAssets() *assets {
	a := &assets{files: map[string][]byte{}}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic("web: embedded static files are missing: " + err.Error())
	}
	hash := sha256.New()
	for _, e := range entries {
		data, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic("web: embedded static file is missing: " + err.Error())
		}
		a.files[e.Name()] = data
		hash.Write([]byte(e.Name()))
		hash.Write(data)
	}
	a.version = hex.EncodeToString(hash.Sum(nil))[:12]
	return a
}

// serve answers /static/NAME.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	data, ok := a.files[name]
	if !ok || r.URL.Path != "/static/"+name {
		writeError(w, http.StatusNotFound, "there is no file "+r.URL.Path, "open the page at /")
		return
	}
	w.Header().Set("ETag", `"`+a.version+`"`)
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
