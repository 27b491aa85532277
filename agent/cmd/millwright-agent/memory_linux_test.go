package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// memoryGroup is a control group of the kernel that bounds memory, as systemd makes one
// for MemoryMax.
type memoryGroup struct {
	t         *testing.T
	dir       string
	max, used string // files: the bound, and what is used
}

// newMemoryGroup makes a group, of version 2 or 1, or skips the test.
func newMemoryGroup(t *testing.T) *memoryGroup {
	t.Helper()
	name := fmt.Sprintf("millwright-test-%d", os.Getpid())
	for _, g := range []*memoryGroup{
		{dir: filepath.Join("/sys/fs/cgroup", name), max: "memory.max", used: "memory.current"},
		{dir: filepath.Join("/sys/fs/cgroup/memory", name), max: "memory.limit_in_bytes", used: "memory.usage_in_bytes"},
	} {
		if err := os.Mkdir(g.dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(g.dir) })
		if _, err := os.Stat(filepath.Join(g.dir, g.max)); err == nil {
			g.t = t
			return g
		}
	}
	t.Skip("no control group that bounds memory can be made here (needs root)")
	return nil
}

func (g *memoryGroup) bound(bytes int64) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, g.max), fmt.Append(nil, bytes), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *memoryGroup) usage() int64 {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, g.used))
	if err != nil {
		g.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// by executes a program inside the group.
func (g *memoryGroup) by() []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}
}

// unitSetting reads a setting of the agent's unit file, such as MemoryMax=, in bytes.
func unitSetting(t *testing.T, key string) int64 {
	t.Helper()
	text, err := os.ReadFile("../../../firmware-configs/systemd/millwright-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			n, err := strconv.ParseInt(strings.TrimRight(rest, "MiB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 20
		}
	}
	t.Fatalf("the unit has no %s", key)
	return 0
}

const burstSamples = 256 << 10 // a payload of 1 MiB, 2 MiB decoded

// Under the limits of its unit file, in a control group, the agent takes a flood of bursts
// and lives. When the kernel kills it for memory nevertheless, what it had not
// acknowledged is there again for the next life, and the counts go on.
func TestRun_KilledForMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs more memory than the limit")
	}
	g := newMemoryGroup(t)
	p := newPlant(t)
	p.configure(`  - name: pump-1
    class: pump
    channels: [{name: vibration, topic: plant/pump-1, unit: g, format: float32, rate_hz: 256000}]
`)
	burst := string(make([]byte, 4*burstSamples))
	received := func(want int64) func() bool {
		return func() bool {
			s, err := (&process{api: p.api}).status()
			return err == nil && s.Samples.Received >= want
		}
	}
	limit, soft := unitSetting(t, "MemoryMax="), unitSetting(t, "Environment=GOMEMLIMIT=")
	g.bound(limit)
	a := launchBy(t, g.by(), p.config, p.api, fmt.Sprintf("GOMEMLIMIT=%d", soft))
	const bursts = 60
	most := int64(0)
	for range bursts {
		p.publish("plant/pump-1", burst)
		most = max(most, g.usage())
	}
	eventually(t, "all bursts are received", received(bursts*burstSamples))
	if err := a.cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("the agent is gone: %v", err)
	}
	t.Logf("%d MiB of bursts took the group to %d of %d MiB", bursts, most>>20, limit>>20)

	// Without its garbage collector it outgrows the limit.
	a.end(syscall.SIGTERM)
	a = launchBy(t, g.by(), p.config, p.api, "GOMEMLIMIT=off", "GOGC=off")
	died := make(chan *os.ProcessState, 1)
	go func() { state, _ := a.cmd.Process.Wait(); died <- state }()
	sent := int64(bursts)
	for alive := true; alive; {
		select {
		case state := <-died:
			alive = false
			if status, ok := state.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Errorf("the agent ended with %v", state)
			}
		default:
			p.publish("plant/pump-1", burst)
			if sent++; sent > 600 {
				t.Fatal("the kernel does not kill the agent")
			}
		}
	}
	close(a.quit)
	a.wait.Wait()
	a.cmd = nil
	g.bound(limit)
	a = launchBy(t, g.by(), p.config, p.api, fmt.Sprintf("GOMEMLIMIT=%d", soft))
	eventually(t, "the bursts of the life before", received(sent*burstSamples))
	a.end(syscall.SIGTERM)
}
