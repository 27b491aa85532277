package enrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// AdminSocket is the name of the command line's socket inside data_dir.
const AdminSocket = "admin.sock"

// MorePath is below what further requests of the command line are.
const MorePath = "/job/"

// maxSocketPath is what fits into a sockaddr_un with its final zero (unix(7)).
const maxSocketPath = 107

// tokenRequest and tokenAnswer are the bodies of POST /token.
type tokenRequest struct {
	TTL     time.Duration `json:"ttl_ns"`
	Uses    int           `json:"uses"`
	Gateway string        `json:"gateway"`
	Replace bool          `json:"replace"`
}

type tokenAnswer struct {
	Token string `json:"token"`
}

// failure is the body of every answer that is not 2xx.
type failure struct {
	Error string `json:"error"`
}

// AdminHandler serves the command line: POST /token, GET /gateways and DELETE
// /gateway/<name>. It asks nobody who they are, so it belongs on a socket only
// the coordinator's user can open; see ServeAdmin.
func (a *Authority) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		var req tokenRequest
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil {
			a.answer(w, nil, requestError("read token request: %v", err))
			return
		}
		text, err := a.CreateToken(r.Context(), TokenOptions(req))
		a.answer(w, tokenAnswer{Token: text}, err)
	})
	mux.HandleFunc("GET /gateways", func(w http.ResponseWriter, r *http.Request) {
		list, err := a.Gateways(r.Context())
		a.answer(w, list, err)
	})
	mux.HandleFunc("DELETE /gateway/{name}", func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, struct{}{}, a.Remove(r.Context(), r.PathValue("name")))
	})
	return mux
}

func (a *Authority) answer(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	if err != nil {
		switch value = (failure{Error: err.Error()}); {
		case errors.Is(err, ErrRequest):
			status = http.StatusBadRequest
		case errors.Is(err, ErrNotEnrolled):
			status = http.StatusNotFound
		default:
			status = http.StatusInternalServerError
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		a.log.Debug("answer command line", "error", err) // it went away
	}
}

// ServeAdmin serves AdminHandler on the unix socket at path, which only this
// user can open, until ctx ends. A socket that a killed coordinator left behind
// is replaced; one that somebody answers is an error.
//
// Requests that AdminHandler does not know go to more, if that is not nil.
func (a *Authority) ServeAdmin(ctx context.Context, path string, more http.Handler) (err error) {
	l, err := listenAdmin(ctx, path)
	if err != nil {
		return fmt.Errorf("open admin socket: %w", err)
	}
	defer func() {
		if gone := os.Remove(path); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	handler := http.NewServeMux()
	handler.Handle("/", a.AdminHandler())
	if more != nil {
		handler.Handle(MorePath, more)
	}
	srv := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		stopped <- errors.Join(srv.Shutdown(grace), srv.Close())
	})
	err = srv.Serve(l)
	if stop() { // Serve failed by itself
		return errors.Join(fmt.Errorf("serve admin socket %q: %w", path, err), srv.Close())
	}
	if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop admin socket %q: %w", path, err)
	}
	return nil
}

// listenAdmin binds inside a directory nobody else can enter, closes the socket's
// mode and only then moves it to path, so that it never is open to others.
func listenAdmin(ctx context.Context, path string) (_ net.Listener, err error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%q has %d bytes, a unix socket's path may have %d: choose a shorter data_dir", path, len(path), maxSocketPath)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%q is there and is no socket: move it away", path)
	default:
		dialer := net.Dialer{Timeout: 2 * time.Second}
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			_ = conn.Close() // nothing was said
			return nil, fmt.Errorf("%q is answered by another coordinator: stop it, or give this one its own data_dir", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err // somebody may live there
		}
	}
	private := filepath.Join(filepath.Dir(path), ".adm")
	if err := os.RemoveAll(private); err != nil {
		return nil, err
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	inside := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: inside, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it will have another name by then
	if err := errors.Join(os.Chmod(inside, 0o600), os.Rename(inside, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
