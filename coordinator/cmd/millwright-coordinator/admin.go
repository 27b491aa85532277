package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Print a new enrolment token. The coordinator must be running."`
}

type tokenCreateCmd struct {
	configFlag
	TTL     time.Duration `help:"How long it may be used." default:"24h"`
	Uses    int           `help:"How many gateways may enrol with it." default:"1"`
	Gateway string        `help:"The only gateway it enrols; that name may be enrolled already (a new box in its place)." placeholder:"NAME"`
	Replace bool          `help:"Let it enrol any name that is enrolled already; the certificates issued before stop working."`
}

// Run is called by kong.
func (c *tokenCreateCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	// Zero would mean the default further down.
	if c.TTL <= 0 || c.Uses <= 0 {
		return &usageError{fmt.Errorf("--ttl and --uses must be greater than 0, got %v and %d", c.TTL, c.Uses)}
	}
	opts := enrol.TokenOptions{TTL: c.TTL, Uses: c.Uses, Gateway: c.Gateway, Replace: c.Replace}
	text, err := enrol.NewAdmin(cfg.DataDir).CreateToken(context.Background(), opts)
	if err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	whom := "one gateway"
	switch {
	case c.Gateway != "":
		whom = "gateway " + c.Gateway
	case c.Uses > 1:
		whom = fmt.Sprintf("%d gateways", c.Uses)
	}
	_, err = fmt.Fprintf(std.err, "This token enrols %s until %s. Put it into the agent's configuration:\n\n  coordinator:\n    address: %s\n    token: <the token>\n\n",
		whom, time.Now().Add(c.TTL).Format("2006-01-02 15:04 MST"), addressHint(cfg.Hosts, cfg.Listen))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, text)
	return err
}

// addressHint guesses what an agent elsewhere should connect to: the first host
// that is not this machine's private name for itself.
func addressHint(hosts []string, listen string) string {
	host := hosts[0]
	for _, h := range hosts {
		if h != "localhost" && !strings.HasPrefix(h, "127.") && h != "::1" {
			host = h
			break
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := listen[strings.LastIndex(listen, ":")+1:]
	if port == "0" {
		port = "<port>" // chosen at each start; see the log
	}
	return host + ":" + port
}

type gatewayCmd struct {
	List   gatewayListCmd   `cmd:"" help:"List the enrolled gateways. The coordinator must be running."`
	Remove gatewayRemoveCmd `cmd:"" help:"Refuse a gateway's certificate from now on. The coordinator must be running."`
}

type gatewayListCmd struct {
	configFlag
	JSON bool `help:"As JSON."`
}

// Run is called by kong.
func (c *gatewayListCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	list, err := enrol.NewAdmin(cfg.DataDir).Gateways(context.Background())
	if err != nil {
		return fmt.Errorf("list gateways: %w", err)
	}
	if c.JSON {
		return printJSON(std.out, list)
	}
	var b strings.Builder
	b.WriteString("GATEWAY\tENROLLED\tCERTIFICATE UNTIL\n")
	for _, g := range list {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", g.Name, g.Enrolled.Format(time.DateOnly), g.CertExpires.Format(time.DateOnly))
	}
	return printTable(std.out, b.String())
}

type gatewayRemoveCmd struct {
	configFlag
	Name string `arg:"" help:"The gateway's name."`
}

// Run is called by kong.
func (c *gatewayRemoveCmd) Run(std streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if err := enrol.CheckGatewayName(c.Name); err != nil {
		return &usageError{err}
	}
	if err := enrol.NewAdmin(cfg.DataDir).Remove(context.Background(), c.Name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.err, "Gateway %s is removed. To bring it back, create a token for it.\n", c.Name)
	return err
}
