package uplink

import (
	"context"
	"sync"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// releases holds the newest release of each job that is still to be installed.
type releases struct {
	mu      sync.Mutex
	waiting map[string]*fedpb.Release
	wake    chan struct{} // one slot
}

func newReleases() *releases {
	return &releases{waiting: map[string]*fedpb.Release{}, wake: make(chan struct{}, 1)}
}

func (r *releases) put(n *fedpb.Release) {
	r.mu.Lock()
	r.waiting[n.GetJob()] = n
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *releases) take() *fedpb.Release {
	r.mu.Lock()
	defer r.mu.Unlock()
	for job, n := range r.waiting {
		delete(r.waiting, job)
		return n
	}
	return nil
}

// install brings releases to the node until ctx ends. What fails is told again
// by the coordinator with the next session.
func (u *Uplink) install(ctx context.Context) {
	for {
		n := u.releases.take()
		if n == nil {
			select {
			case <-u.releases.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		log := u.log.With("job", n.GetJob(), "version", n.GetVersion())
		// Version 0 has learned nothing: the machine's own model is better.
		if n.GetVersion() == 0 || u.node.Installed(n.GetJob()) == n.GetVersion() {
			continue
		}
		if digest := u.digestOf(n.GetJob()); digest != n.GetDigest() {
			log.Warn("release is of another definition of the job", "digest", n.GetDigest(), "own_digest", digest)
			continue
		}
		// One release that does not come must not hold up those of other jobs.
		fctx, cancel := context.WithTimeout(ctx, transferTime(n.GetModel().GetSize()))
		var blob []byte
		model, err := u.fetch(fctx, n.GetModel())
		cancel()
		if err == nil {
			blob, err = model.bytes()
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = u.node.Install(n.GetJob(), n.GetVersion(), blob)
		}
		if err != nil {
			log.Error("release cannot be installed", "error", err)
			continue
		}
		u.shown.change(func(s *State) { s.ModelsInstalled++ })
		log.Debug("release installed", "sha256", n.GetModel().GetSha256(), "size_bytes", len(blob))
	}
}
