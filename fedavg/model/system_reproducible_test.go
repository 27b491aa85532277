//go:build system

package model

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What is learned on ARM, under emulation, is what is learned on amd64, to a millionth.
func TestSystem_SameNumbersOnARM(t *testing.T) {
	for _, c := range []struct {
		arch, emulator string
		env, args      []string
	}{
		{"armv6", "qemu-arm", []string{"GOARCH=arm", "GOARM=6"}, []string{"-cpu", "arm1176"}},
		{"arm64", "qemu-aarch64", []string{"GOARCH=arm64"}, nil},
	} {
		t.Run(c.arch, func(t *testing.T) {
			emulator, err := exec.LookPath(c.emulator)
			if err != nil {
				t.Skipf("%s is not installed", c.emulator)
			}
			binary := filepath.Join(t.TempDir(), "model.test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".")
			build.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), c.env...)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			// Every run under emulation names what it ran: a pattern that matches nothing passes too.
			run := exec.CommandContext(t.Context(), emulator, append(c.args, binary, "-test.v", "-test.run", "^TestFamilies_SameNumbersEverywhere$")...)
			out, err := run.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
