package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

const gatewayPrefix = "gateway/"

// gatewayRecord is what is remembered of a gateway that is not connected, so that
// the page can tell after a restart what is missing and since when.
type gatewayRecord struct {
	Version  string          `json:"version"`
	LastSeen time.Time       `json:"last_seen"`
	Machines []fleet.Machine `json:"machines"`
}

// loadGateways brings back the gateways seen before the restart, and forgets
// those that are not enrolled any more.
func (c *Coordinator) loadGateways(ctx context.Context) error {
	records, err := c.st.List(ctx, gatewayPrefix)
	if err != nil {
		return fmt.Errorf("list gateways: %w", err)
	}
	c.refreshEnrolled()
	for _, r := range records {
		name := r.Key[len(gatewayPrefix):]
		if _, enrolled := c.enrolled[name]; !enrolled && c.authority != nil {
			if err := deleteRecord(ctx, c.st, r.Key); err != nil {
				return err
			}
			continue
		}
		var seen gatewayRecord
		if err := json.Unmarshal(r.Value, &seen); err != nil {
			return fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		c.mu.Lock()
		c.gateways[name] = &gateway{view: fleet.Gateway{Name: name, Version: seen.Version, LastSeen: seen.LastSeen, Machines: seen.Machines}}
		c.mu.Unlock()
	}
	return nil
}

// rememberGateway writes the record of a gateway that left. It is a convenience:
// a failure is logged, and kill -9 costs no more than the time last seen.
func (c *Coordinator) rememberGateway(name string, view fleet.Gateway) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	key := gatewayPrefix + name
	var have gatewayRecord
	revision, err := getRecord(ctx, c.st, key, &have)
	if err == nil {
		_, err = putRecord(ctx, c.st, key, gatewayRecord{view.Version, view.LastSeen, view.Machines}, revision)
	}
	if err != nil && !isConflict(err) { // a conflict: the gateway came and left again meanwhile
		c.metrics.storeErrors.Inc()
		c.log.Error("cannot remember gateway", "gateway", name, "error", err)
	}
}
