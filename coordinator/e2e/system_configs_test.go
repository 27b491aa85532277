//go:build system

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// repository returns the root of the checkout.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// program returns the path of a program of the machine, or skips.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// built returns a file below build/, which make system-test makes first.
func built(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{repository(t), "build"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make build cross", err)
	}
	return path
}

// The units pass systemd's own checks: syntax, and an exposure of at most 1.6.
func TestSystem_Units(t *testing.T) {
	analyze := program(t, "systemd-analyze")
	units, err := filepath.Glob(filepath.Join(repository(t), "firmware-configs/systemd/*.service"))
	if err != nil || len(units) != 2 {
		t.Fatalf("found %d units, %v", len(units), err)
	}
	for _, unit := range units {
		name := strings.TrimSuffix(filepath.Base(unit), ".service")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(unit)
			if err != nil {
				t.Fatal(err)
			}
			// systemd checks that the program is there; here it is not installed.
			installed := strings.ReplaceAll(string(text), "/usr/bin/"+name, built(t, "bin", name))
			if installed == string(text) {
				t.Fatalf("unit does not start /usr/bin/%s", name)
			}
			path := filepath.Join(t.TempDir(), name+".service")
			if err := os.WriteFile(path, []byte(installed), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
			out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=16", path).CombinedOutput()
			level := regexp.MustCompile(`Overall exposure level.*`).Find(out)
			if err != nil {
				t.Errorf("systemd-analyze security: %v\n%s", err, out)
			}
			t.Logf("%s", level)
		})
	}
}

// The gateway's broker starts with our configuration, lets nobody in without a
// password and refuses what no sensor sends.
func TestSystem_GatewayMosquitto(t *testing.T) {
	mosquitto, passwd, pub := program(t, "mosquitto"), program(t, "mosquitto_passwd"), program(t, "mosquitto_pub")
	text, err := os.ReadFile(filepath.Join(repository(t), "firmware-configs/mosquitto/gateway.conf"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	port := freePort(t)
	conf := strings.NewReplacer("listener 1883 0.0.0.0", "listener "+port+" 127.0.0.1",
		"/etc/mosquitto/passwd", dir+"/passwd", "/var/lib/mosquitto/", dir+"/").Replace(string(text))
	if os.Getuid() == 0 { // else Mosquitto becomes a user that cannot read dir
		conf += "user root\n"
	}
	if err := os.WriteFile(dir+"/mosquitto.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(passwd, "-b", "-c", dir+"/passwd", "millwright", "secret").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}
	broker := exec.CommandContext(t.Context(), mosquitto, "-c", dir+"/mosquitto.conf")
	var log strings.Builder
	broker.Stdout, broker.Stderr = &log, &log
	broker.WaitDelay = time.Second
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Process.Kill(); _ = broker.Wait() })
	publish := func(args ...string) error {
		args = append([]string{"-h", "127.0.0.1", "-p", port, "-q", "1", "-t", "plant/pump-1/vibration"}, args...)
		out, err := exec.CommandContext(t.Context(), pub, args...).CombinedOutput()
		if err == nil && len(out) > 0 {
			err = fmt.Errorf("%s", out)
		}
		return err
	}
	known := []string{"-u", "millwright", "-P", "secret"}
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := publish(append(known, "-m", "1.5")...)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a known user cannot publish: %v\n%s", err, log.String())
		}
		time.Sleep(50 * time.Millisecond) // another process: nothing to wait on
	}
	if err := publish("-m", "1.5"); err == nil {
		t.Error("a client without a name may publish")
	}
	burst, huge := dir+"/burst", dir+"/huge"
	if err := os.WriteFile(burst, make([]byte, 400_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(huge, make([]byte, 100<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := publish(append(known, "-f", burst)...); err != nil {
		t.Errorf("a burst of 100k samples is refused: %v", err)
	}
	if err := publish(append(known, "-f", huge)...); err == nil {
		t.Error("a payload of 100 MiB is accepted")
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Prometheus takes our configuration and rules.
func TestSystem_Prometheus(t *testing.T) {
	promtool := program(t, "promtool")
	dir := filepath.Join(repository(t), "firmware-configs/prometheus")
	for _, args := range [][]string{{"check", "config", dir + "/millwright.yml"}, {"check", "rules", dir + "/millwright-rules.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
