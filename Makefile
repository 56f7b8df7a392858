# Requires make, and Python 3.11 or later as `python3` (or PYTHON=...). Everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
DAY ?= $(shell date -u +%F)
# Most modules are never imported: the others are compiled when they first are.
PIP := $(BIN)/pip install --quiet --no-compile --constraint requirements.lock
# Tests of one file share fixtures, so they run in one process.
PARALLEL := $(BIN)/pytest --dist loadfile --no-loadscope-reorder --numprocesses

export DAGSTER_HOME := $(CURDIR)/.dagster_home
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# Several processes read the file; an absolute path is valid in all of them.
ifdef ABALONE_CSV
export ABALONE_CSV := $(abspath $(ABALONE_CSV))
endif

.PHONY: help demo dev test test-slow test-fault baseline bench lint audit format lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

demo: $(VENV)/installed $(DAGSTER_HOME)/dagster.yaml ## Run the whole abalone pipeline and print the main numbers
	$(BIN)/dg launch --job abalone_lineage --partition $(DAY)
	$(BIN)/synth-assets status

dev: $(VENV)/installed $(DAGSTER_HOME)/dagster.yaml ## Start the UI (on PORT), the daemon and the schedules
	$(BIN)/dg dev --host 127.0.0.1 --port $(PORT)

test: lint ## Run linters, type checks and quick tests
	$(PARALLEL) auto -m "not slow and not fault"

test-slow: $(VENV)/installed-dev ## Run tests that train models, start servers and drive a browser
	$(PARALLEL) 3 -m "slow and not fault" # more than the cores: many tests wait for a server or a tick

test-fault: $(VENV)/installed-dev ## Run the fault tests (kills, full disks, damaged files), a few of each; FAULTS=full for all (half an hour)
	$(BIN)/pytest -m fault

baseline: $(VENV)/installed ## Measure be_great as released, three seeds at two temperatures (a quarter of an hour)
	$(BIN)/python benchmarks/baseline.py

bench: $(VENV)/installed ## Measure the language model, be_great and peers side by side, three seeds each (half an hour; SLOW=1 adds slow peers)
	$(BIN)/python benchmarks/bench.py $(if $(SLOW),--slow-peers)

lint: $(VENV)/installed-dev ## Run linters and type checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/dg check defs

audit: $(VENV)/installed-dev ## Look for known vulnerabilities of dependencies
	$(BIN)/python .ci/audit.py $(BIN)/pip-audit

format: $(VENV)/installed-dev ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(VENV)/installed-dev ## Update requirements.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --output-file requirements.lock

clean: ## Remove .venv and the Dagster instance; keep data/
	rm -rf $(VENV) $(DAGSTER_HOME)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or later is needed; {sys.executable} is {sys.version}" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Install torch first: pip takes the CPU build where one is available, and later packages keep it.
$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

# Create the pool in advance: one that Dagster creates itself does not limit runs queued together with the first one.
$(DAGSTER_HOME)/dagster.yaml: dagster.yaml | $(VENV)/installed
	mkdir -p $(DAGSTER_HOME)
	ln -sf $(CURDIR)/dagster.yaml $@
	$(BIN)/dagster instance concurrency set language_model 1 || { rm $@; exit 1; }
