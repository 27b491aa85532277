package uplink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/fedavg"
)

// memory is what the agent keeps of a job from one counted update to the next. It
// belongs to an update: staged with it, it takes the place of what stood before
// when the coordinator has the update, and goes when the update is dropped.
//
//	<job>.<part>.<digest>                  what stands
//	<job>.<part>.<round>.<attempt>.staged  what will, once that update is received
type memory struct{ dir string }

// part names one thing that is remembered.
type part string

const (
	ownControl part = "own"      // the agent's control variate (SCAFFOLD)
	residual   part = "residual" // what compression left out (top-k)
)

var parts = []part{ownControl, residual}

const stagedSuffix = ".staged"

func (m *memory) standing(job string, p part, digest string) string {
	return filepath.Join(m.dir, fmt.Sprintf("%s.%s.%.16s", job, p, digest))
}

func (m *memory) staged(t task, p part) string {
	return filepath.Join(m.dir, fmt.Sprintf("%s.%s.%d.%d%s", t.Job, p, t.Round, t.Attempt, stagedSuffix))
}

// load returns what stands for a job of that digest, which must fit layout. What
// is not there, or cannot be read, is nil: it begins at zero.
func (m *memory) load(job string, p part, digest string, layout fedavg.Layout) []fedavg.Vector {
	data, err := os.ReadFile(m.standing(job, p, digest))
	if err != nil {
		return nil
	}
	vectors, err := fedavg.DecodeState(data, layout)
	if err != nil {
		_ = os.Remove(m.standing(job, p, digest))
		return nil
	}
	return vectors
}

// stage keeps what will stand when the update for t is received; nil is nothing. It
// comes before the update is put into the outbox.
func (m *memory) stage(t task, p part, vectors []fedavg.Vector) error {
	if vectors == nil {
		return nil
	}
	data, err := fedavg.EncodeState(vectors)
	if err == nil {
		err = os.MkdirAll(m.dir, 0o700)
	}
	if err == nil {
		err = durable.WriteFile(m.staged(t, p), data)
	}
	if err != nil {
		return fmt.Errorf("keep %s of job %q: %w", p, t.Job, err)
	}
	return nil
}

// settle makes what was staged with an update stand.
func (m *memory) settle(t task, digest string) error {
	if digest == "" {
		return nil // the job is not known yet; sweep comes when it is
	}
	moved := false
	for _, p := range parts {
		err := os.Rename(m.staged(t, p), m.standing(t.Job, p, digest))
		if errors.Is(err, fs.ErrNotExist) {
			continue // nothing was staged, or it was settled before
		}
		if err != nil {
			return err
		}
		moved = true
	}
	if !moved {
		return nil
	}
	return durable.SyncDir(m.dir)
}

// drop forgets what was staged with an update that will not count.
func (m *memory) drop(t task) {
	for _, p := range parts {
		_ = os.Remove(m.staged(t, p))
	}
}

// sweep settles or drops what a power cut left, by what became of the update, and
// forgets what belongs to another definition of a job, now that digests, by name,
// are known. What is being learned at the moment is left alone.
func (m *memory) sweep(box *outbox, digests map[string]string, training func(task) bool) error {
	files, err := os.ReadDir(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		path := filepath.Join(m.dir, f.Name())
		fields := strings.Split(f.Name(), ".")
		t, isStaged := stagedTask(f.Name())
		digest := digests[fields[0]]
		switch {
		case isStaged && digest != "" && (box.holds(t) || training(t)):
		case isStaged && digest != "" && box.delivered(t):
			err = errors.Join(err, m.settle(t, digest))
		case !isStaged && len(fields) == 3 && digest != "" && path == m.standing(fields[0], part(fields[1]), digest):
		default:
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// stagedTask reads the task from the name of a staged file.
func stagedTask(name string) (t task, ok bool) {
	fields := strings.Split(name, ".")
	if len(fields) != 5 || "."+fields[4] != stagedSuffix || !slices.Contains(parts, part(fields[1])) {
		return task{}, false
	}
	round, err := strconv.ParseUint(fields[2], 10, 64)
	attempt, err2 := strconv.ParseUint(fields[3], 10, 32)
	return task{fields[0], round, uint32(attempt)}, err == nil && err2 == nil
}
