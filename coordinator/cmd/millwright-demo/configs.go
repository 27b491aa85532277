package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

// addresses are where the processes of one demonstration listen.
type addresses struct {
	broker, coordinator, page string
	agents                    []string // APIs, by gateway
}

// The configurations are written as a person would write them, so that the
// demonstration's folder is an example to start from.
var (
	coordinatorYAML = template.Must(template.New("coordinator").Parse(`# Written by millwright-demo.
data_dir: {{.DataDir}}
listen: {{.Listen}}
hosts: [127.0.0.1]
web: {listen: {{.Page}}}
`))
	agentYAML = template.Must(template.New("agent").Parse(`# Written by millwright-demo.
gateway: {{.Gateway}}
data_dir: {{.DataDir}}
{{with .Coordinator}}coordinator: {address: {{.}}, token_file: {{$.TokenFile}}}
{{end}}mqtt: {broker: tcp://{{.Broker}}}
api: {listen: {{.API}}}
machines:
{{- range .Machines}}
  - name: {{.Name}}
    class: {{.Class}}
    channels:
    {{- range .Channels}}
      - {name: {{.Name}}, topic: {{.Topic}}, unit: {{.Unit}}, format: {{.Format}}
      {{- with .Path}}, path: {{.}}{{end}}{{with .TimePath}}, time_path: {{.}}{{end}}
      {{- with .RateHz}}, rate_hz: {{.}}{{end}}{{with .Header}}, header: {{.}}{{end}}}
    {{- end}}
{{- end}}
`))
)

func writeCoordinator(path, dataDir string, at addresses, s scenario) error {
	var text strings.Builder
	err := coordinatorYAML.Execute(&text, map[string]string{"DataDir": dataDir, "Listen": at.coordinator, "Page": at.page})
	if err != nil {
		return err
	}
	jobs, err := yaml.Marshal(map[string]any{"jobs": s.jobs})
	if err != nil {
		return fmt.Errorf("write jobs: %w", err)
	}
	text.Write(jobs)
	return writeConfig(path, text.String())
}

func writeAgent(path, dataDir, tokenFile, gateway, api string, at addresses, s scenario) error {
	type machineLine struct {
		Name, Class string
		Channels    []channel
	}
	var machines []machineLine
	for _, m := range s.machines {
		if m.gateway == gateway {
			machines = append(machines, machineLine{m.name, m.class, m.channels})
		}
	}
	var text strings.Builder
	err := agentYAML.Execute(&text, map[string]any{
		"Gateway": gateway, "DataDir": dataDir, "Coordinator": at.coordinator, "TokenFile": tokenFile,
		"Broker": at.broker, "API": api, "Machines": machines,
	})
	if err != nil {
		return err
	}
	return writeConfig(path, text.String())
}

func writeSensors(path string, at addresses, s scenario) error {
	return writeConfig(path, fmt.Sprintf("# Written by millwright-demo.\nbroker: tcp://%s\n%s", at.broker, s.sensors))
}

func writeConfig(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
