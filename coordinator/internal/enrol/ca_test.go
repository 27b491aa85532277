package enrol

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

func TestOpen_CreatesOnce(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]fs.FileMode{f.dir: 0o700, filepath.Join(f.dir, caKeyFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", path, info.Mode().Perm(), err, want)
		}
	}
	if years := f.ca.cert.NotAfter.Sub(f.clock.Now()).Hours() / 24 / 365; years < 10 {
		t.Errorf("the CA lives for %.1f years", years)
	}
	again, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	if again.CADigest() != f.CADigest() || len(f.CADigest()) != 64 {
		t.Fatalf("the CA changed from %s to %s", f.CADigest(), again.CADigest())
	}
	left, err := os.ReadDir(filepath.Dir(f.dir))
	if err != nil || len(left) != 1 {
		t.Fatalf("beside the CA there is %v, %v", left, err)
	}
}

// TestOpen_InterruptedCreation: before the rename nothing of the CA counts, and
// what is left is swept away.
func TestOpen_InterruptedCreation(t *testing.T) {
	parent := t.TempDir()
	torn := filepath.Join(parent, ".ca-new-123")
	if err := os.Mkdir(torn, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(torn, caKeyFile), []byte("-----BEGIN PRIV"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fixture{st: memstore.New(), dir: filepath.Join(parent, "ca"), clock: newClock()}
	if _, err := f.open(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(torn); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the torn directory is still there: %v", err)
	}
}

// TestOpen_CrashAfterCreation: the directory is there, the store does not know
// of it yet.
func TestOpen_CrashAfterCreation(t *testing.T) {
	f := newFixture(t)
	f.st = memstore.New()
	again, err := f.open()
	if err != nil || again.CADigest() != f.CADigest() {
		t.Fatalf("Open = %v, %v", again, err)
	}
	r, err := f.st.Get(context.Background(), caRecordKey)
	if err != nil || string(r.Value) != f.CADigest() {
		t.Fatalf("the store notes %q, %v", r.Value, err)
	}
}

// TestOpen_Broken: whatever is wrong with the files, the error names the file
// and the mend, and every file is left as it was.
func TestOpen_Broken(t *testing.T) {
	other := newFixture(t)
	copyFrom := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(other.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write := func(name string, data []byte) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), data, 0o600) }
	}
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  []string // in the error
	}{
		"directory lost":     {os.RemoveAll, []string{"missing", "backup"}},
		"key lost":           {func(dir string) error { return os.Remove(filepath.Join(dir, caKeyFile)) }, []string{caKeyFile, "backup"}},
		"certificate lost":   {func(dir string) error { return os.Remove(filepath.Join(dir, caCertFile)) }, []string{caCertFile, "backup"}},
		"key empty":          {write(caKeyFile, nil), []string{caKeyFile, "damaged", "backup"}},
		"certificate empty":  {write(caCertFile, nil), []string{caCertFile, "damaged", "backup"}},
		"key is text":        {write(caKeyFile, []byte("hello")), []string{caKeyFile, "damaged"}},
		"key of other":       {write(caKeyFile, copyFrom(caKeyFile)), []string{"belong together", "backup"}},
		"certificate other":  {write(caCertFile, copyFrom(caCertFile)), []string{"belong together", "backup"}},
		"garbage in PEM":     {write(caCertFile, []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")), []string{caCertFile, "damaged"}},
		"garbage in key":     {write(caKeyFile, []byte("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n")), []string{caKeyFile, "damaged"}},
		"two certificates":   {write(caCertFile, bytes.Repeat(copyFrom(caCertFile), 2)), []string{caCertFile, "damaged"}},
		"readable by others": {func(dir string) error { return os.Chmod(filepath.Join(dir, caKeyFile), 0o644) }, []string{caKeyFile, "chmod 600"}},
		"whole CA of other": {func(dir string) error {
			return errors.Join(write(caKeyFile, copyFrom(caKeyFile))(dir), write(caCertFile, copyFrom(caCertFile))(dir))
		}, []string{"store belongs to", "backup"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if err := c.spoil(f.dir); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, f.dir)
			_, err := f.open()
			if err == nil {
				t.Fatal("it opened")
			}
			for _, want := range append(c.want, f.dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if after := snapshot(t, f.dir); after != before {
				t.Errorf("the files changed from\n%s to\n%s", before, after)
			}
		})
	}
}

func snapshot(t *testing.T, dir string) string {
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.Name() + ":" + string(data) + "\n")
	}
	return b.String()
}

func TestOpen_ClockOutOfRange(t *testing.T) {
	f := newFixture(t)
	for shift, want := range map[time.Duration]string{caLifetime + time.Hour: "expired", -48 * time.Hour: "set this machine's clock"} {
		f.clock.Add(shift)
		if _, err := f.open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the clock off by %v: %v, want %q", shift, err, want)
		}
		f.clock.Add(-shift)
	}
}
