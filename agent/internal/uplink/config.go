package uplink

import (
	"errors"
	"fmt"
	"net"

	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Config says where the coordinator is and who calls.
type Config struct {
	Address string // host:port of the coordinator; required
	// Token, or the content of TokenFile, is shown to the coordinator while the
	// agent has no certificate, or one that is refused. Both may be absent once
	// it has enrolled; TokenFile is read again at each attempt.
	Token     string
	TokenFile string
	Gateway   string // name of this gateway; required
	// DataDir is where the folder "uplink" goes: certificate, outbox, models. Required.
	DataDir string
	Version string // of the agent, told to the coordinator
	// MaxModelBytes refuses larger models. Default 512 MiB.
	MaxModelBytes uint64
}

const defaultMaxModelBytes = 512 << 20

// check reports everything that makes c unusable and fills in defaults.
func (c *Config) check() error {
	var errs []error
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		errs = append(errs, fmt.Errorf("coordinator address %q is not host:port, such as hq.example.com:7443", c.Address))
	}
	if err := fedrpc.CheckGatewayName(c.Gateway); err != nil {
		errs = append(errs, err)
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("uplink has no data directory"))
	}
	if c.Token != "" && c.TokenFile != "" {
		errs = append(errs, errors.New("token and token_file are both set; keep one"))
	}
	if c.Token != "" {
		if _, err := fedrpc.ParseToken(c.Token); err != nil {
			errs = append(errs, err)
		}
	}
	if c.MaxModelBytes == 0 {
		c.MaxModelBytes = defaultMaxModelBytes
	}
	return errors.Join(errs...)
}
