package agent

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/fedavg/fedrpc"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// problemFunc receives one problem at a path such as machines[0].name.
type problemFunc func(path, format string, args ...any)

// problems collects what a problemFunc is told where there is no file.
type problems struct{ strictyaml.Problems }

func (p *problems) add(path, format string, args ...any) {
	p.List = append(p.List, strictyaml.Problem{File: "configuration", Path: path, Message: fmt.Sprintf(format, args...)})
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const nameRule = "use letters, digits, '-', '_' and '.', starting with a letter or digit, at most 63"

// check reports everything that is wrong with c. It changes nothing.
func (c *Config) check(problem problemFunc) {
	checkName(problem, "gateway", c.Gateway)
	if c.DataDir == "" {
		problem("data_dir", "names no directory; name one this process may write to, such as /var/lib/millwright")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		problem("log_level", "%q is not a level; use debug, info, warn or error", c.LogLevel)
	}
	if c.Coordinator != nil {
		c.Coordinator.check(problem)
	}
	c.MQTT.check(problem)
	c.API.check(problem)
	if c.Store.MaxSamples < 1 {
		problem("store.max_samples", "is %d; it must be at least 1", c.Store.MaxSamples)
	}
	if c.Store.MaxSize < 1<<20 || c.Store.MaxSize > 256<<20 {
		problem("store.max_size", "is %v; it must lie between 1MiB and 256MiB", c.Store.MaxSize)
	}
	c.Training.check(problem)
	if len(c.Machines) == 0 && len(c.Patterns) == 0 {
		problem("machines", "lists no machine; list at least one")
	}
	seen := map[string]int{}
	for i := range c.Machines {
		m, path := &c.Machines[i], fmt.Sprintf("machines[%d]", i)
		for _, name := range append([]string{m.Name}, m.Names...) {
			key := path + ".name"
			if name != m.Name {
				key = path + ".names"
			}
			if first, ok := seen[name]; ok && name != "" {
				problem(key, "%q is already the name of machines[%d]; names must be unique", name, first)
			} else {
				seen[name] = i
			}
		}
		m.check(problem, path)
	}
	c.checkBroker(problem)
}

// checkBroker reports a broker that is missing although something needs one.
func (c *Config) checkBroker(problem problemFunc) {
	if c.MQTT.Broker != "" {
		return
	}
	for i := range c.Machines {
		m := &c.Machines[i]
		if len(m.Devices) > 0 || slices.ContainsFunc(m.Channels, func(ch ChannelConfig) bool { return ch.Wiring.Bus == "" }) {
			problem("mqtt.broker", "is missing; name one, such as tcp://127.0.0.1:1883")
			return
		}
	}
	if c.MQTT.Sparkplug != nil || c.MQTT.HomeAssistant != nil {
		problem("mqtt.broker", "is missing, but results are to be published; name one, such as tcp://127.0.0.1:1883")
	}
}

func checkName(problem problemFunc, path, name string) {
	switch {
	case name == "":
		problem(path, "is missing; %s", nameRule)
	case !namePattern.MatchString(name):
		problem(path, "%q is not a name; %s", name, nameRule)
	}
}

func (c *CoordinatorConfig) check(problem problemFunc) {
	if err := checkHostPort(c.Address); err != nil {
		problem("coordinator.address", "%v", err)
	}
	if c.Token != "" && c.TokenFile != "" {
		problem("coordinator.token_file", "excludes token; keep one of them")
	}
	if c.Token != "" {
		if _, err := fedrpc.ParseToken(c.Token); err != nil {
			problem("coordinator.token", "%v", err)
		}
	}
}

func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is not host:port", address)
	}
	return nil
}

func (c *MQTTConfig) check(problem problemFunc) {
	u, err := url.Parse(c.Broker)
	switch {
	case c.Broker == "": // see checkBroker
	case err != nil || !slices.Contains([]string{"tcp", "tls"}, u.Scheme) || u.Hostname() == "" || u.Port() == "":
		problem("mqtt.broker", "%q is not a broker's address; use tcp://host:port or tls://host:port", c.Broker)
	case u.User != nil:
		problem("mqtt.broker", "holds credentials; use username and password_file, so that they are not shown")
	case u.Scheme == "tcp" && c.TLS != nil:
		problem("mqtt.tls", "is set but broker is not tls://; change the broker to tls://%s", u.Host)
	}
	if c.TLS != nil && (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		problem("mqtt.tls", "a client certificate needs both cert_file and key_file")
	}
	if c.PasswordFile != "" && c.Username == "" {
		problem("mqtt.password_file", "is set without username")
	}
	c.checkResults(problem)
	if c.Queue.Messages < 1 {
		problem("mqtt.queue.messages", "is %d; it must be at least 1", c.Queue.Messages)
	}
	if c.Queue.Size < 64<<10 || c.Queue.Size > 1<<30 {
		problem("mqtt.queue.size", "is %v; it must lie between 64KiB and 1GiB", c.Queue.Size)
	}
	if c.Queue.Wait < 0 || c.Queue.Wait >= 10*time.Second {
		problem("mqtt.queue.wait", "is %v; it must be less than 10s, when a silent connection is given up", c.Queue.Wait)
	}
	if c.MaxPayload < 1<<10 || c.MaxPayload > 64<<20 {
		problem("mqtt.max_payload", "is %v; it must lie between 1KiB and 64MiB", c.MaxPayload)
	}
}

// checkResults checks where results go beside their own topics.
func (c *MQTTConfig) checkResults(problem problemFunc) {
	if s := c.Sparkplug; s != nil {
		if s.Group == "" {
			problem("mqtt.sparkplug.group", "is missing; name the group of edge nodes, such as your plant")
		}
		for key, level := range map[string]string{"group": s.Group, "node": s.Node, "primary_host": s.PrimaryHost} {
			if strings.ContainsAny(level, "/+#\x00") {
				problem("mqtt.sparkplug."+key, "%q is not one level of a topic; leave '/', '+' and '#' out", level)
			}
		}
	}
	if h := c.HomeAssistant; h != nil {
		if strings.ContainsAny(h.Prefix, "+#\x00") || strings.HasPrefix(h.Prefix, "/") || strings.HasSuffix(h.Prefix, "/") {
			problem("mqtt.home_assistant.prefix", "%q is not a topic's beginning; use one such as homeassistant", h.Prefix)
		}
		if !c.Publish {
			problem("mqtt.home_assistant", "needs the scores that mqtt.publish: false turns off; set it to true, or remove home_assistant")
		}
	}
}

func (c *APIConfig) check(problem problemFunc) {
	if err := checkHostPort(c.Listen); err != nil {
		problem("api.listen", "%v", err)
		return
	}
	if c.loopback() {
		return
	}
	if !c.AllowRemote {
		problem("api.listen", "%s is not a loopback address and the interface has no authentication; use 127.0.0.1, or set api.allow_remote: true", c.Listen)
	}
	if c.Pprof {
		problem("api.pprof", "is only served on a loopback address, and api.listen is %s", c.Listen)
	}
}

// loopback reports whether only this machine can reach the interface.
func (c *APIConfig) loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
