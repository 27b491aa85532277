package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/internal/web"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Run serves until ctx ends, then tells every gateway, lets calls under way
// finish within limits.stop_grace, and returns nil. It returns an error when a
// port cannot be had, the store cannot be read, or another coordinator uses it.
// No goroutine it started is left when it returns. Call it once.
func (c *Coordinator) Run(ctx context.Context) error {
	if err := c.load(ctx); err != nil {
		return fmt.Errorf("start coordinator: %w", err)
	}
	agents, err := listen(ctx, "agents", "listen", c.cfg.Listen)
	if err != nil {
		return err
	}
	defer agents.Close() // harmless after the server closed it
	pages, err := listen(ctx, "the page", "web.listen", c.cfg.Web.Listen)
	if err != nil {
		return err
	}
	defer pages.Close()
	c.addresses.agents, c.addresses.web = agents.Addr().String(), pages.Addr().String()

	group, ctx := errgroup.WithContext(ctx)
	for _, j := range c.jobs {
		group.Go(func() error { return j.run(ctx) })
	}
	group.Go(func() error { return c.serveAgents(ctx, agents) })
	group.Go(func() error { return c.serveWeb(ctx, pages) })
	group.Go(func() error {
		return c.authority.ServeAdmin(ctx, filepath.Join(c.cfg.DataDir, enrol.AdminSocket), c.adminHandler())
	})
	c.log.Info("coordinator runs", "agents", c.AgentAddr(), "page", "http://"+c.WebAddr()+"/", "jobs", len(c.jobs))
	close(c.ready)
	err = group.Wait()
	c.log.Info("coordinator stopped")
	return err
}

// listen opens a port; whose and key name it in the error.
func listen(ctx context.Context, whose, key, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen for %s on %q: another program uses that port; stop it, or set `%s:` to a free one", whose, address, key)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen for %s on %q: this user may not; set `%s:` to a port above 1023", whose, address, key)
	case err != nil:
		return nil, fmt.Errorf("listen for %s on %q: %w; correct `%s:`", whose, address, err, key)
	}
	return l, nil
}

// serveAgents serves gRPC on l until ctx ends.
func (c *Coordinator) serveAgents(ctx context.Context, l net.Listener) error {
	service := rpc.NewService(c, c.authority, rpc.Options{Version: c.cfg.Version, QueueMessages: c.cfg.Limits.MaxQueuedMessages})
	server := grpc.NewServer(append(fedrpc.ServerOptions(), grpc.Creds(credentials.NewTLS(c.authority.ServerTLS())))...)
	rpc.Register(server, service, rpc.NewEnrolment(c.authority, c.log))

	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		service.Stop()
		hurry := time.AfterFunc(c.cfg.Limits.StopGrace, server.Stop)
		server.GracefulStop()
		hurry.Stop()
	})
	err := server.Serve(l)
	if stop() { // Serve failed by itself
		service.Stop()
		server.Stop()
		service.Wait()
		return fmt.Errorf("serve agents on %s: %w", l.Addr(), err)
	}
	<-stopped
	service.Wait()
	return nil
}

// serveWeb serves the page, its API, /metrics and /healthz on l until ctx ends.
func (c *Coordinator) serveWeb(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/", web.New(c, web.Options{}, c.log))
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", c.health)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
		MaxHeaderBytes:    64 << 10,
		// Ends the event streams, which otherwise never would.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Limits.StopGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	err := server.Serve(l)
	if stop() {
		server.Close()
		return fmt.Errorf("serve the page on %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}

// health answers 200 while the store answers, else 503.
func (c *Coordinator) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := c.st.List(ctx, "alarm/none"); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "store does not answer: %v\n", err)
		return
	}
	fmt.Fprintln(w, "ok")
}
