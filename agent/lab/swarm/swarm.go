// Package swarm loads a real coordinator with many light agents: real gRPC and
// mutual TLS on loopback, real durable stores, updates of random numbers instead
// of training.
package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// agentsPerToken is how many gateways a person would enrol with one token.
const agentsPerToken = 100

// Config sets a swarm up.
type Config struct {
	Agents int // how many
	Params int // about how many parameters the model has
	Rounds int // committed rounds to wait for
	// Coordinator is the path of the millwright-coordinator command.
	Coordinator string
	// Dir is for the coordinator's and the agents' files; it should be empty.
	Dir string
	// Progress gets a line now and then.
	Progress io.Writer
}

// Round is what one round cost. Durations in seconds.
type Round struct {
	Round        uint64  `json:"round"`
	Participants int     `json:"participants"`
	Bytes        uint64  `json:"bytes"`
	TransferS    float64 `json:"transfer_s"` // announcement to the last durable update
	CloseS       float64 `json:"close_s"`    // from there to the commit, of which:
	VerifyS      float64 `json:"verify_s"`   // judging the updates by each other
	AggregateS   float64 `json:"aggregate_s"`
	StoreS       float64 `json:"store_s"`                    // writing the new model
	RSSBytes     uint64  `json:"coordinator_peak_rss_bytes"` // since the round before
}

// Result is what a swarm measured.
type Result struct {
	Agents       int     `json:"agents"`
	Params       int     `json:"params"`
	ConnectS     float64 `json:"connect_s"` // start to the last agent ready
	Rounds       []Round `json:"rounds"`
	PeakRSSBytes uint64  `json:"coordinator_peak_rss_bytes"`
}

// Run starts a coordinator and the swarm, waits for the rounds and ends both.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Agents < 1 || cfg.Params < 1 || cfg.Rounds < 1 {
		return nil, errors.New("run swarm: agents, params and rounds must each be at least 1")
	}
	spec := swarmJob(cfg)
	family, err := spec.Family()
	if err != nil {
		return nil, err
	}
	hq, err := startHeadquarters(ctx, cfg, spec)
	if err != nil {
		return nil, err
	}
	defer hq.stop()
	agentsCtx, stopAgents := context.WithCancel(ctx)
	var agents sync.WaitGroup
	defer func() { stopAgents(); agents.Wait() }()
	began := time.Now()
	token := ""
	for i := range cfg.Agents {
		if i%agentsPerToken == 0 {
			if token, err = hq.token(ctx, agentsPerToken); err != nil {
				return nil, err
			}
		}
		name := fmt.Sprintf("light-%05d", i)
		dir := filepath.Join(cfg.Dir, "agents", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("run swarm: %w", err)
		}
		n := newNode(name, spec, family.ParamLayout(), uint64(i))
		up, err := uplink.New(uplink.Config{Address: hq.agents, Token: token, Gateway: name, DataDir: dir, Version: "swarm"}, n, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, fmt.Errorf("run swarm: %w", err)
		}
		agents.Go(func() { _ = up.Run(agentsCtx) })
		if i%20 == 19 { // a plant's gateways do not all boot in one millisecond
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	fmt.Fprintf(cfg.Progress, "%d agents started, model of %d parameters\n", cfg.Agents, family.ParamLayout().Size())
	result := &Result{Agents: cfg.Agents, Params: family.ParamLayout().Size()}
	if err := hq.follow(ctx, cfg, began, result); err != nil {
		return nil, err
	}
	return result, nil
}

// swarmJob is a gradient job whose model has about as many parameters as asked
// for: a network of one hidden layer of width h has 2·h·d + h + d of them.
func swarmJob(cfg Config) job.Spec {
	const features = 64
	hidden := max(1, (cfg.Params-features)/(2*features+1))
	channel := job.ChannelFeatures{Channel: "c"}
	for i := range features {
		channel.Features = append(channel.Features, fmt.Sprintf("f%d", i))
	}
	return job.Spec{
		Name: "swarm", Class: "light",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{channel}},
		Model:    model.Spec{Kind: model.KindAutoencoder, Autoencoder: &model.AutoencoderSpec{Hidden: []int{hidden}}},
		Rounds: job.RoundPolicy{
			Every: time.Second, MinParticipants: cfg.Agents, Deadline: 10 * time.Minute, Count: cfg.Rounds,
		},
	}.WithDefaults()
}
