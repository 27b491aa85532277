package sniff

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/sensors/profile"
)

// Print writes the report as a configuration: what was heard stands in comments, what
// needs a decision of a person is commented out.
func (r *Report) Print(w io.Writer, gateway, broker, username string, listened time.Duration, ignored int) {
	fmt.Fprintf(w, "# Heard in %v at %s: %d topics.\n", listened.Round(time.Second), broker, len(r.Topics))
	if ignored > 0 {
		fmt.Fprintf(w, "# %d messages on more topics were left out; narrow it down with --topic.\n", ignored)
	}
	for _, t := range r.Topics {
		rate := "once"
		if hz := t.PerSecond(); hz > 0 {
			rate = fmt.Sprintf("%.3g/s", hz)
		} else if t.Messages > 1 {
			rate = fmt.Sprintf("%d times", t.Messages)
		}
		note := ""
		if t.Retained == t.Messages {
			note = ", retained only"
		}
		fmt.Fprintf(w, "#   %-40s %-8s %d B  %s%s\n", quoteTopic(t.Name), rate, t.Bytes/int64(max(1, t.Messages)), r.Families[t.Name], note)
	}
	fmt.Fprintf(w, "#\n# Units are guessed from names and sizes: look them up before you rely on them. Give machines of\n# one kind the same class and the same channel names: they learn together.\n\n")
	fmt.Fprintf(w, "gateway: %s\nmqtt:\n  broker: %s\n", text(gateway), text(broker))
	if username != "" {
		fmt.Fprintf(w, "  username: %s\n  # password_file: /run/credentials/millwright-agent.service/mqtt-password\n", text(username))
	}
	any := false
	for _, m := range r.Machines {
		any = any || m.whole()
	}
	if !any {
		fmt.Fprintln(w, "# Nothing was heard that can be taken as it is; see the comments.\n# machines:")
	} else {
		fmt.Fprintln(w, "machines:")
	}
	for _, m := range r.Machines {
		m.print(w)
	}
}

// whole says that at least one channel needs nothing.
func (m *Machine) whole() bool {
	for _, c := range m.Channels {
		if c.Missing == "" {
			return true
		}
	}
	for _, d := range m.Devices {
		if len(d.Channels) > 0 {
			return true
		}
	}
	return false
}

func (m *Machine) print(w io.Writer) {
	mark := ""
	if !m.whole() {
		mark = "# "
	}
	fmt.Fprintf(w, "%s  - name: %s\n%s    class: unnamed-class # what kind of machine it is\n", mark, text(m.Name), mark)
	channels, whole := false, false
	for _, c := range m.Channels {
		channels, whole = true, whole || c.Missing == ""
	}
	if channels {
		head := mark
		if !whole && mark == "" {
			head = "# "
		}
		fmt.Fprintf(w, "%s    channels:\n", head)
	}
	for _, c := range m.Channels {
		if c.Missing != "" {
			fmt.Fprintf(w, "#      %s # %s; read %s\n", c.line(), c.Missing, c.Example)
		} else {
			fmt.Fprintf(w, "%s      %s # read %s\n", mark, c.line(), c.Example)
		}
	}
	printed := false
	for i := range m.Devices {
		if len(m.Devices[i].Channels) == 0 {
			continue
		}
		if !printed {
			fmt.Fprintln(w, "    devices:")
			printed = true
		}
		fmt.Fprintf(w, "      %s\n", deviceLine(&m.Devices[i]))
	}
}

// line writes a channel in one line of YAML.
func (c *Channel) line() string {
	unit := c.Unit
	if unit == "" {
		unit = "?"
	}
	s := &c.Spec
	b := flow{}
	b.text("name", c.Name)
	b.text("topic", c.Topic)
	b.text("unit", unit)
	b.text("format", string(s.Format))
	b.text("path", s.Path)
	b.text("delimiter", s.Delimiter)
	if s.RateHz > 0 {
		b.raw("rate_hz", fmt.Sprint(s.RateHz))
	}
	b.text("rate_path", s.RatePath)
	b.text("header", string(s.Header))
	b.text("time_path", s.TimePath)
	if s.Partial {
		b.raw("partial", "true")
	}
	return "- {" + strings.Join(b.parts, ", ") + "}"
}

func deviceLine(d *profile.Device) string {
	b := flow{}
	b.text("profile", d.Profile)
	b.text("prefix", d.Prefix)
	b.text("topic", d.Topic)
	b.text("group", d.Group)
	b.text("node", d.Node)
	b.text("device", d.Device)
	b.table("channels", d.Channels)
	b.table("units", d.Units)
	return "- {" + strings.Join(b.parts, ", ") + "}"
}

// flow collects the pairs of a YAML flow mapping.
type flow struct{ parts []string }

func (f *flow) raw(key, value string) { f.parts = append(f.parts, key+": "+value) }

func (f *flow) text(key, value string) {
	if value != "" {
		f.raw(key, text(value))
	}
}

func (f *flow) table(key string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	inner := flow{}
	for _, k := range sortedKeys(m) {
		inner.raw(text(k), text(m[k]))
	}
	f.raw(key, "{"+strings.Join(inner.parts, ", ")+"}")
}

// text writes a scalar: plain where that is safe, else quoted as JSON, which YAML reads.
func text(s string) string {
	if plainScalar(s) {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}

func plainScalar(s string) bool {
	if s == "" || (s[0] < 'a' || s[0] > 'z') && (s[0] < 'A' || s[0] > 'Z') {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") == ""
}

// quoteTopic keeps a topic on one line of a comment.
func quoteTopic(s string) string { return strings.Trim(text(s), `"`) }
