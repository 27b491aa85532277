# Millwright. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
# grpcnotrace leaves out gRPC's request traces and the templates they are shown with, for whose
# sake the linker would keep every method of every type: 4.9 MB of the agent.
GOBUILD := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "$(LDFLAGS)"
# The race detector needs a C compiler; without one the tests still run.
RACE    := $(shell command -v $${CC:-gcc} >/dev/null 2>&1 && echo -race)
TESTENV := $(if $(RACE),CGO_ENABLED=1,CGO_ENABLED=0)

COMMANDS := ./agent/cmd/millwright-agent ./agent/cmd/millwright-lab ./coordinator/cmd/millwright-coordinator \
	./coordinator/cmd/millwright-demo ./sensors/cmd/sensorsim

# Pinned tools, built from source on first use.
BUF         := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
GOLANGCI    := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every command for this machine into build/bin
	@mkdir -p build/bin
	$(GOBUILD) -o build/bin/ $(COMMANDS)

.PHONY: demo
demo: build ## a whole federation on this machine (ROUNDS=5 ends by itself, DATA=dir replays recorded data)
	@build/bin/millwright-demo run --bin build/bin $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(DATA),--data "$(DATA)")

.PHONY: test
test: ## vet and every test that needs nothing but Go
	@$(if $(RACE),,echo "no C compiler found: testing without the race detector")
	go vet ./...
	$(TESTENV) go test $(RACE) -timeout 6m ./...

.PHONY: system-test
system-test: build cross ## tests against real Mosquitto, Chromium, qemu-user and systemd (each skips when missing)
	go test -tags system -count=1 -timeout 15m -run 'System' -v ./...
	go test -timeout 6m ./agent/lab ./agent/internal/infer # whole: some of it is too slow under the race detector

.PHONY: bench
bench: build ## measure speed and size; writes build/bench.json
	@build/bin/millwright-demo bench --bin build/bin --out build/bench.json

.PHONY: fuzz
fuzz: ## fuzz every decoder for FUZZTIME (default 10s) each
	@go list -f '{{.ImportPath}}' ./... | while read -r pkg; do \
		go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' | while read -r f; do \
			echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-10s} "$$pkg"; \
		done || true; \
	done

.PHONY: cross
cross: ## static, stripped binaries for every board into build/cross
	@mkdir -p build/cross
	@build() { echo "  $$1 $$2/$$3$${4:+v$$4}"; \
		GOOS=$$2 GOARCH=$$3 GOARM=$$4 $(GOBUILD) -o build/cross/$$1-$$2-$$3$${4:+v$$4} $$5; }; \
	build millwright-agent linux arm 6 ./agent/cmd/millwright-agent; \
	build millwright-agent linux arm 7 ./agent/cmd/millwright-agent; \
	build millwright-agent linux arm64 '' ./agent/cmd/millwright-agent; \
	build millwright-agent linux amd64 '' ./agent/cmd/millwright-agent; \
	build millwright-coordinator linux arm64 '' ./coordinator/cmd/millwright-coordinator; \
	build millwright-coordinator linux amd64 '' ./coordinator/cmd/millwright-coordinator
	@ls -l build/cross | awk 'NR > 1 {printf "  %-40s %5.1f MB\n", $$NF, $$5 / 1e6}'

.PHONY: lint
lint: ## static checks and known vulnerabilities (builds its pinned tools on first use)
	$(GOLANGCI) run ./...
	$(GOVULNCHECK) ./...

.PHONY: generate
generate: ## regenerate the wire's code from its .proto
	cd fedavg/fedpb && $(BUF) generate

.PHONY: clean
clean: ## remove what was built
	rm -rf build
