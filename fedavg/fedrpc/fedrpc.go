// Package fedrpc is what both ends of the wire between agents and a coordinator
// share: connection options, TLS, enrolment tokens, the peer's name, blobs in
// chunks, and which failures are final. The messages themselves are in fedpb.
package fedrpc

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

const (
	// MaxMessageBytes bounds one message in either direction. Anything that may
	// grow (a model, an update) travels as a blob in chunks far below it.
	MaxMessageBytes = 4 << 20

	// KeepaliveTime of silence makes either side ping. Plants sit behind NAT
	// gateways that forget a silent connection after 30 s or more.
	KeepaliveTime = 20 * time.Second
	// KeepaliveTimeout without an answer to a ping, the connection counts as lost.
	KeepaliveTimeout = 10 * time.Second

	// ReconnectMin is the first pause before connecting again.
	ReconnectMin = 500 * time.Millisecond
	// ReconnectMax is the longest.
	ReconnectMax = 20 * time.Second

	// The flow-control windows are fixed, so memory a connection is bounded:
	// 512 KiB a stream carry 5 MB/s over a round trip of 100 ms.
	streamWindowBytes     = 512 << 10
	connectionWindowBytes = 1 << 20

	handshakeTimeout = 20 * time.Second
	maxStreams       = 64 // a connection; an agent uses a session, uploads and downloads

	reconnectGrowth = 1.6
	reconnectJitter = 0.2
	// What a connection holds while it writes. gRPC's default of 32 KiB is for few busy
	// connections; sessions are many and mostly silent. What an agent writes at once is
	// also what the coordinator must hold to decrypt it, twice over and for as long as
	// the connection lasts. For reading nothing is held: TLS has a buffer of its own.
	coordinatorWriteBytes = 8 << 10
	agentWriteBytes       = 4 << 10
)

// ServerOptions are the coordinator's connection options, without credentials
// (see [ServerTLS]).
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.InitialWindowSize(streamWindowBytes),
		grpc.InitialConnWindowSize(connectionWindowBytes),
		grpc.ReadBufferSize(0),
		grpc.WriteBufferSize(coordinatorWriteBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: KeepaliveTime, Timeout: KeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             KeepaliveTime / 2,
			PermitWithoutStream: true,
		}),
	}
}

// ClientOptions are the agent's connection options, without credentials (see
// [EnrolmentTLS] and [AgentTLS]).
func ClientOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(MaxMessageBytes),
			grpc.MaxCallSendMsgSize(MaxMessageBytes),
		),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connectionWindowBytes),
		grpc.WithReadBufferSize(0),
		grpc.WithWriteBufferSize(agentWriteBytes),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                KeepaliveTime,
			Timeout:             KeepaliveTimeout,
			PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: ReconnectMin, MaxDelay: ReconnectMax,
				Multiplier: reconnectGrowth, Jitter: reconnectJitter,
			},
			MinConnectTimeout: handshakeTimeout,
		}),
		// An upload is tried again from the outbox; buffering it for gRPC's own
		// retries would cost its size in memory.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
	}
}

// CheckGatewayName reports why name cannot be a gateway's name. It becomes the
// common name of a certificate, a part of MQTT topics and of keys in stores, so it
// is 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit.
func CheckGatewayName(name string) error {
	if name == "" {
		return fmt.Errorf("gateway has no name; choose one of letters, digits, '-', '_' and '.'")
	}
	if len(name) > 63 {
		return fmt.Errorf("gateway name %.20q… has %d characters; at most 63 fit", name, len(name))
	}
	for i, c := range []byte(name) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			return fmt.Errorf("gateway name %q: character %d cannot stand there; use letters, digits, '-', '_' and '.', beginning with a letter or digit", name, i+1)
		}
	}
	return nil
}
