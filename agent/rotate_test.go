package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
)

// The plant changes the broker's password: whoever puts the new one into password_file
// needs no restart, neither for what is read nor for what is published.
func TestAgent_PasswordReplacedWhileItRuns(t *testing.T) {
	dir := t.TempDir()
	users, secret := filepath.Join(dir, "users"), filepath.Join(dir, "password")
	set := func(password string) {
		t.Helper()
		if out, err := exec.Command("mosquitto_passwd", "-b", "-c", users, "gw", password).CombinedOutput(); err != nil {
			t.Skipf("mosquitto_passwd: %v: %s", err, out)
		}
		if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("one")
	m := brokertest.Start(t, "allow_anonymous false", "password_file "+users)
	cfg := testConfig(t, m.Address(), "pump-1")
	cfg.MQTT.Username, cfg.MQTT.PasswordFile = "gw", secret
	r := start(t, cfg)
	both := func(connections int64) func() bool {
		return func() bool {
			in, out := r.messages(), r.publisher.Stats()
			return in.Connected && in.Connections >= connections && out.Connected && out.Connections >= connections
		}
	}
	eventually(t, "connected with the first password", both(1))
	set("two")
	m.Signal(syscall.SIGHUP) // the broker reads its users again
	m.Stop()
	m.Run()
	eventually(t, "connected with the second password", both(2))
}
