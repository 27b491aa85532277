package uplink

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

// task names one try of one round of one job.
type task struct {
	Job     string `json:"job"`
	Round   uint64 `json:"round"`
	Attempt uint32 `json:"attempt"`
}

// after says whether t is a later try than o of the same job.
func (t task) after(o task) bool {
	return t.Job == o.Job && (t.Round > o.Round || t.Round == o.Round && t.Attempt > o.Attempt)
}

// entry is an update on disk: the header line of its file.
type entry struct {
	task
	Base   string `json:"base"` // digest of the global model it was learned from
	SHA256 string `json:"sha256"`
	Size   uint64 `json:"size"`
}

// outbox keeps updates until the coordinator has them, a file each: the entry as
// a line of JSON, then the blob. The update last received for each job is kept
// too: should its round be announced again, the same update answers.
type outbox struct {
	dir string

	mu      sync.Mutex
	pending []entry // oldest first
	sent    map[string]entry
	changed chan struct{} // one slot: an update was put in
}

const (
	pendingSuffix = ".update"
	sentSuffix    = ".sent"
	tempPrefix    = ".tmp-" // of durable.WriteFile
	maxHeader     = 4 << 10
)

// openOutbox reads what is in dir. Files that are torn or damaged are removed
// and returned by name, with the reason.
func openOutbox(dir string) (*outbox, map[string]error, error) {
	o := &outbox{dir: dir, sent: map[string]entry{}, changed: make(chan struct{}, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	files, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, nil, err
	}
	bad := map[string]error{}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		ext := filepath.Ext(f.Name())
		if strings.HasPrefix(f.Name(), tempPrefix) {
			_ = os.Remove(path) // power failed while it was written
			continue
		}
		if ext != pendingSuffix && ext != sentSuffix {
			continue
		}
		e, err := readEntry(path)
		switch {
		case err != nil || o.path(e.task, ext) != path:
			if err == nil {
				err = fmt.Errorf("holds an update of job %q, round %d, attempt %d", e.Job, e.Round, e.Attempt)
			}
			bad[f.Name()] = err
			_ = os.Remove(path)
		case ext == pendingSuffix:
			o.pending = append(o.pending, e)
		case o.sent[e.Job].Job == "" || e.after(o.sent[e.Job].task):
			o.dropSent(e.Job)
			o.sent[e.Job] = e
		default:
			_ = os.Remove(path)
		}
	}
	slices.SortStableFunc(o.pending, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.Round, b.Round), cmp.Compare(a.Attempt, b.Attempt), strings.Compare(a.Job, b.Job))
	})
	return o, bad, nil
}

func (o *outbox) path(t task, suffix string) string {
	return filepath.Join(o.dir, fmt.Sprintf("%s.%d.%d%s", t.Job, t.Round, t.Attempt, suffix))
}

// put stores an update before it is offered to anyone. An update held for the
// same task is not replaced: put reports it instead.
func (o *outbox) put(t task, base string, blob []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.find(t) >= 0 {
		return fmt.Errorf("an update of job %q for round %d, attempt %d is in the outbox already", t.Job, t.Round, t.Attempt)
	}
	digest := sha256.Sum256(blob)
	e := entry{task: t, Base: base, SHA256: hex.EncodeToString(digest[:]), Size: uint64(len(blob))}
	header, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(o.path(t, pendingSuffix), slices.Concat(header, []byte{'\n'}, blob)); err != nil {
		return fmt.Errorf("store update in the outbox: %w", err)
	}
	o.pending = append(o.pending, e)
	o.nudge()
	return nil
}

// claim says whether an update for t, learned from base, exists already; one
// that was sent before is offered again. An update learned from another base is
// of a history that the coordinator no longer has, and makes room.
func (o *outbox) claim(t task, base string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := o.find(t); i >= 0 {
		if o.pending[i].Base == base {
			o.nudge()
			return true
		}
		_ = os.Remove(o.path(t, pendingSuffix))
		o.pending = slices.Delete(o.pending, i, i+1)
	}
	e, ok := o.sent[t.Job]
	if !ok || e.task != t || e.Base != base {
		return false
	}
	if err := os.Rename(o.path(t, sentSuffix), o.path(t, pendingSuffix)); err != nil {
		return false
	}
	delete(o.sent, t.Job)
	o.pending = append(o.pending, e)
	o.nudge()
	return true
}

// received notes that the coordinator has e, durably.
func (o *outbox) received(e entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(e.task)
	o.dropSent(e.Job)
	if err := os.Rename(o.path(e.task, pendingSuffix), o.path(e.task, sentSuffix)); err != nil {
		return err
	}
	o.sent[e.Job] = e
	failpoint.Here(failpoint.OutboxMarked)
	err := durable.SyncDir(o.dir)
	failpoint.Here(failpoint.OutboxKept)
	return err
}

// drop gives an update up.
func (o *outbox) drop(e entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(e.task)
	if err := os.Remove(o.path(e.task, pendingSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(o.dir)
}

// list returns the pending updates, oldest first.
func (o *outbox) list() []entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.pending)
}

// verify reads an update and reports whether it still is what was stored.
func (o *outbox) verify(e entry) error {
	got, err := readEntry(o.path(e.task, pendingSuffix))
	if err == nil && got != e {
		err = errors.New("file of the outbox holds another update")
	}
	return err
}

// open returns the blob of an update.
func (o *outbox) open(e entry) (io.ReadSeekCloser, error) {
	f, err := os.Open(o.path(e.task, pendingSuffix))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Seek(info.Size()-int64(e.Size), io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// holds says whether an update for t waits to be delivered.
func (o *outbox) holds(t task) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.find(t) >= 0
}

// delivered says whether the update last received of its job is the one for t.
func (o *outbox) delivered(t task) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.sent[t.Job]
	return ok && e.task == t
}

func (o *outbox) find(t task) int {
	return slices.IndexFunc(o.pending, func(e entry) bool { return e.task == t })
}

func (o *outbox) forget(t task) {
	if i := o.find(t); i >= 0 {
		o.pending = slices.Delete(o.pending, i, i+1)
	}
}

func (o *outbox) dropSent(job string) {
	if e, ok := o.sent[job]; ok {
		_ = os.Remove(o.path(e.task, sentSuffix))
		delete(o.sent, job)
	}
}

func (o *outbox) nudge() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// readEntry reads a file of the outbox whole and checks it.
func readEntry(path string) (entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return entry{}, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxHeader)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return entry{}, fmt.Errorf("header is torn: %w", err)
	}
	var e entry
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return entry{}, fmt.Errorf("header is damaged: %w", err)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	if err != nil {
		return entry{}, err
	}
	if uint64(n) != e.Size {
		return entry{}, fmt.Errorf("blob is torn: %d of %d bytes", n, e.Size)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != e.SHA256 {
		return entry{}, fmt.Errorf("blob is damaged: digest %s, not %s", got, e.SHA256)
	}
	return e, nil
}
