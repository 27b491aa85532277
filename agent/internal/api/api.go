// Package api is the agent's local HTTP interface: its state as JSON, its health,
// and its metrics. Labels can be given through it, from the box itself; all else it
// only shows.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// View is what the interface shows. Its methods are called from several goroutines
// and return what encodes to JSON; ok is false when there is no such thing.
type View interface {
	Status() any
	Machines() any
	Machine(name string) (doc any, ok bool)
	Alarms() any
	Jobs() any
	Models() any
	Config() any // without secrets
	Sensors() any
	// Health returns a document for people and whether the agent does its work.
	Health() (doc any, ok bool)
}

// Book takes labels. Its methods are called from several goroutines and return the
// status of the answer and what encodes to JSON.
type Book interface {
	Labels(machine string) (status int, doc any) // of all machines if machine is empty
	Label(body []byte) (status int, doc any)
	Withdraw(id string) (status int, doc any)
}

// Options tunes a Server.
type Options struct {
	Listen  string       // host:port
	Metrics http.Handler // serves /metrics
	Debug   http.Handler // serves /debug/; nil: nothing does
	Labels  Book         // serves /api/v1/labels; nil: nothing does
}

// Server serves a View.
type Server struct {
	opts  Options
	view  View
	log   *slog.Logger
	bound chan string // receives the address once, capacity 1
}

// New returns a Server; nothing listens before Run.
func New(opts Options, view View, log *slog.Logger) *Server {
	return &Server{opts: opts, view: view, log: log, bound: make(chan string, 1)}
}

// Bound yields the address the Server listens on, once.
func (s *Server) Bound() <-chan string { return s.bound }

// retry is the pause before listening is tried again.
const retry = 10 * time.Second

// Run serves until ctx ends. An address that cannot be had is logged and tried
// again: prediction does not depend on who looks at it.
func (s *Server) Run(ctx context.Context) error {
	for {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.opts.Listen)
		if err == nil {
			return s.serve(ctx, ln)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ended as asked
		}
		s.log.Error("local interface cannot listen; change api.listen or end the program that holds the port", "listen", s.opts.Listen, "error", err, "retry", retry)
		pause := time.NewTimer(retry)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

func (s *Server) serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.log.Info("local interface ready", "address", ln.Addr().String())
	s.bound <- ln.Addr().String()
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve local interface: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve local interface: %w", err)
	}
	return nil
}

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	always := func(doc func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { s.write(w, http.StatusOK, doc()) }
	}
	mux.HandleFunc("GET /api/v1/status", always(s.view.Status))
	mux.HandleFunc("GET /api/v1/machines", always(s.view.Machines))
	mux.HandleFunc("GET /api/v1/machines/{name}", func(w http.ResponseWriter, r *http.Request) {
		doc, ok := s.view.Machine(r.PathValue("name"))
		if !ok {
			s.write(w, http.StatusNotFound, Problem{"no machine of this name; see /api/v1/machines"})
			return
		}
		s.write(w, http.StatusOK, doc)
	})
	mux.HandleFunc("GET /api/v1/alarms", always(s.view.Alarms))
	mux.HandleFunc("GET /api/v1/jobs", always(s.view.Jobs))
	mux.HandleFunc("GET /api/v1/models", always(s.view.Models))
	mux.HandleFunc("GET /api/v1/config", always(s.view.Config))
	mux.HandleFunc("GET /api/v1/sensors", always(s.view.Sensors))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		doc, ok := s.view.Health()
		status := http.StatusOK
		if !ok {
			status = http.StatusServiceUnavailable
		}
		s.write(w, status, doc)
	})
	if s.opts.Metrics != nil {
		mux.Handle("GET /metrics", s.opts.Metrics)
	}
	if s.opts.Labels != nil {
		s.serveLabels(mux)
	}
	if s.opts.Debug != nil {
		mux.Handle("/debug/", s.opts.Debug)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.write(w, http.StatusNotFound, Problem{"nothing here; see /api/v1/status"})
	})
	return mux
}

// Problem is the document of an answer that is not what was asked for.
type Problem struct {
	Error string `json:"error"`
}

func (s *Server) write(w http.ResponseWriter, status int, doc any) {
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		s.log.Error("document cannot be encoded", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error": "document cannot be encoded; see the agent's log"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
