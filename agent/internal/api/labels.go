package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"

	"github.com/millwright-iot/millwright/agent/internal/labels"
)

// serveLabels adds the routes of labels. There is no login: they are taken from the box
// itself only, and not from a page of another site that its browser shows.
func (s *Server) serveLabels(mux *http.ServeMux) {
	book := s.opts.Labels
	mux.HandleFunc("GET /api/v1/labels", func(w http.ResponseWriter, r *http.Request) {
		status, doc := book.Labels(r.URL.Query().Get("machine"))
		s.write(w, status, doc)
	})
	mux.HandleFunc("POST /api/v1/labels", s.fromBox(func(w http.ResponseWriter, r *http.Request) {
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			s.write(w, http.StatusUnsupportedMediaType, Problem{"send the label as JSON, with the header Content-Type: application/json"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, labels.MaxBytes))
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			s.write(w, http.StatusRequestEntityTooLarge, Problem{fmt.Sprintf("a label has at most %d bytes; send one at a time", labels.MaxBytes)})
			return
		case err != nil:
			s.write(w, http.StatusBadRequest, Problem{"the label did not arrive whole: " + err.Error()})
			return
		}
		status, doc := book.Label(body)
		s.write(w, status, doc)
	}))
	mux.HandleFunc("DELETE /api/v1/labels/{id}", s.fromBox(func(w http.ResponseWriter, r *http.Request) {
		status, doc := book.Withdraw(r.PathValue("id"))
		s.write(w, status, doc)
	}))
}

// fromBox lets only requests of the box itself through.
func (s *Server) fromBox(next http.HandlerFunc) http.HandlerFunc {
	var browsers http.CrossOriginProtection
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			s.write(w, http.StatusForbidden, Problem{"labels are taken from the gateway itself, through loopback; from elsewhere send them through MQTT"})
			return
		}
		if err := browsers.Check(r); err != nil {
			s.write(w, http.StatusForbidden, Problem{"labels are not taken from pages of other sites: " + err.Error()})
			return
		}
		next(w, r)
	}
}
