# The two commands a newcomer needs: `make demo` and `make test`.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/claude-bottle/claude-bottle/internal/cli.version=$(VERSION)
BIN     := bin/claude-bottle
export CGO_ENABLED = 0

.PHONY: build install demo test bench fuzz lint docs picture clean

# What the linker wrote, through a memory map, starts half a millisecond slower than a copy of it,
# which the page cache holds in larger pieces. An installed program is such a copy.
build: ## one static binary in bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/claude-bottle
	cp $(BIN) $(BIN).copy && mv -f $(BIN).copy $(BIN)

# Elsewhere than on Linux the program for an engine's Linux goes beside ours.
install: build ## to ~/.local/bin
	mkdir -p "$(HOME)/.local/bin"
	install -m 0755 $(BIN) "$(HOME)/.local/bin/claude-bottle"
ifneq ($(shell $(GO) env GOOS),linux)
	GOOS=linux $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o "$(HOME)/.local/bin/claude-bottle-linux-$(shell $(GO) env GOARCH)" ./cmd/claude-bottle
endif

demo: build ## a real agent in a real bottle, offline
	$(BIN) demo

test: ## everything CI runs
	./scripts/test

bench: build ## speed, as ratios against rivals in the same run
	./scripts/bench

fuzz: ## a longer fuzz pass over every parser
	FUZZTIME=2m ./scripts/fuzz

lint:
	$(GO) tool -modfile=tools/go.mod golangci-lint run

docs: ## regenerate the generated parts of docs/
	$(GO) test ./internal/manifest -run Docs -update

clean:
	rm -rf bin dist

picture: build ## the README's pictures, from real runs
	./scripts/picture
