package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
)

// histories keeps where the machines' scores came from over a restart: without it, a
// trend would begin anew.
type histories struct {
	path     string
	machines []*pipeline.Machine
	log      *slog.Logger
}

// historiesEvery is how often they are written, so how much of them a power cut
// costs. A trend of weeks can spare that, and flash is spared too.
const historiesEvery = 30 * time.Minute

// history is what one machine left, under the job of that digest.
type history struct {
	Job string `json:"job"`
	infer.History
}

// restore gives the machines what they left. What cannot be used is logged, and the
// machine begins anew.
func (h *histories) restore() {
	left := map[string]history{}
	durable.ReadChecked(h.path, h.log, func(body []byte) error {
		clear(left)
		return json.Unmarshal(body, &left)
	})
	for _, m := range h.machines {
		mine, ok := left[m.Name()]
		if !ok {
			continue
		}
		if err := m.Remember(mine.Job, mine.History); err != nil {
			h.log.Error("history of scores cannot be used; it begins anew", "machine", m.Name(), "error", err)
		}
	}
}

// run writes them now and then until ctx ends, and once more.
func (h *histories) run(ctx context.Context) error {
	return durable.NowAndThen(ctx, historiesEvery, historiesEvery, h.log.With("file", h.path), h.write)
}

func (h *histories) write() error {
	all := map[string]history{}
	for _, m := range h.machines {
		if digest, mine, ok := m.History(); ok {
			all[m.Name()] = history{digest, mine}
		}
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return durable.WriteChecked(h.path, body)
}
