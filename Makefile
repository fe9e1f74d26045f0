# Everything here sets up what it needs: a virtual environment in .venv, npm packages in haraka/*/node_modules.
# PYTHON chooses the interpreter (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
VENV := .venv/.installed
PLUGIN := haraka/plugin/node_modules/.installed
DEMO := haraka/demo/node_modules/.installed
PYTEST_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run demo test test-python test-plugin lint check format schemas lock crash breakages chaos outage side-by-side busy versions field fuzz bench clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV) $(PLUGIN) $(DEMO) ## Install what development, tests and the demo need

$(VENV): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

haraka/%/node_modules/.installed: haraka/%/package.json haraka/%/package-lock.json
	cd haraka/$* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

run: $(VENV) ## Start the bundled Valkey and a worker; Ctrl-C stops both
	@$(BIN)/haraka-accounting work

demo: $(VENV) $(PLUGIN) $(DEMO) ## Send 300 messages through a real Haraka and compare the files with what the sink answered
	@$(BIN)/python -m haraka.demo

test: test-plugin test-python ## Run the tests: plugin, unit, loop, crash, server, short chaos runs, field, outage, Haraka

# The bundled server has no TLS: tests of TLS need Debian's. Where this user cannot install it, they are skipped.
REDIS_SERVER := $(shell command -v redis-server)
ifeq ($(REDIS_SERVER)$(filter-out 0,$(shell id -u)),)
.PHONY: redis-server
redis-server:
	apt-get update -qq && RUNLEVEL=1 apt-get install -qq -y --no-install-recommends redis-server openssl >/dev/null
else
redis-server:
endif

test-plugin: $(VENV) $(PLUGIN) redis-server
	cd haraka/plugin && npm test --silent

# On another server than the wheel's: make test-python VALKEY_SERVER=/usr/bin/redis-server PYTEST_FLAGS=tests/server
test-python: $(VENV) $(PLUGIN) $(DEMO)
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_FLAGS)

lint: $(VENV) $(PLUGIN) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd haraka/plugin && npm run --silent lint

check: lint test ## What CI runs

format: $(VENV) $(PLUGIN) ## Format the code
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	cd haraka/plugin && npm run --silent format

schemas: $(VENV) ## Write what is made from the code: JSON Schema, field catalogue, default ini, configuration reference
	$(BIN)/python -m schemas
	$(BIN)/python -m config

lock: $(VENV) ## Lock the requirements anew, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml -o requirements/app.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group pyproject.toml:fuzz -o requirements/fuzz.txt

# With the fuzzer that follows coverage, where it has a wheel; CI gives each target a few seconds in the tests.
FUZZ_SECONDS ?= 1800
fuzz: $(VENV) $(PLUGIN) ## Fuzz what reads anything from outside, each target for half an hour (FUZZ_SECONDS, FUZZ_TARGETS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)
	cd haraka/plugin && FUZZ_SECONDS=$(FUZZ_SECONDS) node --test test/fuzz.test.js

crash: $(VENV) ## Simulate tens of thousands of histories: workers that die, servers that forget, bad disks, operators
	$(BIN)/python -m tests.crash --histories 20000 --seed 1 $(CRASH_FLAGS)

breakages: $(VENV) $(PLUGIN) ## Break the protocol on purpose, rule by rule: some test or the simulation has to notice
	$(BIN)/python -m tests.crash --breakages
	cd haraka/plugin && node test/breaking.js

chaos: $(VENV) ## Kill, stall, cut off, move, copy, empty, reconfigure for two minutes, then compare every row (CHAOS_FLAGS="--seeds 1-20")
	$(BIN)/python -m tests.chaos $(CHAOS_FLAGS)

outage: $(VENV) $(PLUGIN) $(DEMO) ## Every outage on a real Haraka and a real Valkey
	OUTAGE=all $(BIN)/pytest tests/outage $(PYTEST_FLAGS)

side-by-side: $(VENV) $(PLUGIN) $(DEMO) ## Haraka with the plugin and without it, in every case: the same mail, the same exits
	SIDE_BY_SIDE=all $(BIN)/pytest tests/haraka/test_side_by_side.py $(PYTEST_FLAGS)

busy: $(VENV) $(PLUGIN) $(DEMO) ## On a busy machine: 100 starts of Haraka with a backlog, and 100 kills of it under load
	STARTS=100 KILLS=100 $(BIN)/pytest tests/haraka/test_starts_and_kills.py $(PYTEST_FLAGS)

versions: $(VENV) $(PLUGIN) $(DEMO) ## The plugin in every version of Haraka from 3.1.0 on
	HARAKA_VERSIONS=all $(BIN)/pytest tests/haraka/test_versions.py $(PYTEST_FLAGS)

field: $(VENV) $(PLUGIN) $(DEMO) ## What operators do to directories, files, inis and servers, in every way that was thought of
	FIELD=all $(BIN)/pytest tests/field $(PYTEST_FLAGS)

bench: $(VENV) ## Drain 1 000 000 entries with each appendonly setting, beside the straightforward loop; replay and audit them
	$(BIN)/python -m bench.drain
	$(BIN)/python -m bench.replay
	$(BIN)/python -m bench.audit

clean: ## Remove what set-up and demo made
	rm -rf .venv haraka/*/node_modules .demo .fuzz
