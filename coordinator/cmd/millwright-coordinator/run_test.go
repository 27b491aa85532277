package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

// systemd is a notification socket as systemd makes one.
func systemd(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(shortDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// next returns the next notification, or "" when none is waiting after patience.
func next(t *testing.T, conn *net.UnixConn, patience time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	n, err := conn.Read(buf)
	if err != nil && !os.IsTimeout(err) {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestTellSystemd(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", "")
	st, ready := memstore.New(), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); tellSystemd(ctx, ready, st, slog.New(slog.DiscardHandler)) }()

	if got := next(t, conn, 50*time.Millisecond); got != "" {
		t.Fatalf("before it was ready it said %q", got)
	}
	close(ready)
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(t, conn, 20*time.Second); got != want {
			t.Fatalf("it said %q, want %q", got, want)
		}
	}
	// A store that does not answer is no progress.
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	left := 0 // what it said before
	for next(t, conn, 200*time.Millisecond) != "" {
		if left++; left > 1000 {
			t.Fatal("it feeds the watchdog with a dead store")
		}
	}
	cancel()
	if got := next(t, conn, 20*time.Second); got != "STOPPING=1" {
		t.Fatalf("at the end it said %q", got)
	}
	<-done
}

func TestTellSystemd_StoppedBeforeReady(t *testing.T) {
	conn := systemd(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tellSystemd(ctx, make(chan struct{}), memstore.New(), slog.New(slog.DiscardHandler))
	if got := next(t, conn, 20*time.Millisecond); got != "" {
		t.Fatalf("it said %q", got)
	}
}
