package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const victim = "MILLWRIGHT_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victim) != "" {
		for range 5 {
			Here("other")
			Here("here")
			os.Stdout.WriteString("passed\n")
		}
		return
	}
	os.Exit(m.Run())
}

func TestHere_KillsAtTheChosenTime(t *testing.T) {
	for _, c := range []struct {
		armed  string
		passed int // times the victim lives to tell
		killed bool
	}{
		{"", 5, false}, {"elsewhere", 5, false}, {"here", 0, true}, {"here:1", 0, true}, {"here:4", 3, true}, {"here:6", 5, false},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victim+"=1", Env+"="+c.armed)
		out, err := cmd.Output()
		if got := strings.Count(string(out), "passed"); got != c.passed {
			t.Errorf("%q: passed %d times, want %d", c.armed, got, c.passed)
		}
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if killed != c.killed || !killed && err != nil {
			t.Errorf("%q: ended with %v", c.armed, err)
		}
	}
}

func TestParse_RefusesWhatItCannotMean(t *testing.T) {
	for _, text := range []string{"here:", "here:0", "here:-1", "here:x", "here:1:2"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was taken", text)
				}
			}()
			parse(text)
		}()
	}
}

// BenchmarkHere is what a point costs a process that is not to die.
func BenchmarkHere(b *testing.B) {
	for b.Loop() {
		Here(StoreCommits)
	}
}
