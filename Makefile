# Needs Python 3.11 or later as `python3` (or PYTHON=...), and make. Everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
DAY ?= $(shell date -u +%F)
# Most modules are never imported: the others are compiled when they first are.
PIP := $(BIN)/pip install --quiet --no-compile --constraint requirements.lock
# A file's tests share what they made, so they stay in one process.
PARALLEL := $(BIN)/pytest --dist loadfile --no-loadscope-reorder --numprocesses

export DAGSTER_HOME := $(CURDIR)/.dagster_home
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# One file is read by several processes: an absolute path means the same in all of them.
ifdef ABALONE_CSV
export ABALONE_CSV := $(abspath $(ABALONE_CSV))
endif

.PHONY: help demo dev test test-slow test-fault baseline bench lint audit format lock clean

help: ## Say what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

demo: $(VENV)/installed $(DAGSTER_HOME)/dagster.yaml ## Materialize the whole abalone lineage, and print the main numbers
	$(BIN)/dg launch --job abalone_lineage --partition $(DAY)
	$(BIN)/synth-assets status

dev: $(VENV)/installed $(DAGSTER_HOME)/dagster.yaml ## Start the UI (on PORT), the daemon and the schedules
	$(BIN)/dg dev --host 127.0.0.1 --port $(PORT)

test: lint ## Run linters, types and the quick tests
	$(PARALLEL) auto -m "not slow and not fault"

test-slow: $(VENV)/installed-dev ## Run the tests that train models, start servers and drive a browser
	$(PARALLEL) 3 -m "slow and not fault" # more than cores: many of them wait, for a server or for a tick

test-fault: $(VENV)/installed-dev ## Kill, fill, damage and lock, a few times each; FAULTS=full as often as docs/reliability.md tells (half an hour)
	$(BIN)/pytest -m fault

baseline: $(VENV)/installed ## Measure be_great as it is, with three seeds at two temperatures (a quarter of an hour)
	$(BIN)/python benchmarks/baseline.py

bench: $(VENV)/installed ## Measure our engine, be-great and peers side by side, three seeds each (half an hour; SLOW=1 for slow peers too)
	$(BIN)/python benchmarks/bench.py $(if $(SLOW),--slow-peers)

lint: $(VENV)/installed-dev ## Run linters and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs

audit: $(VENV)/installed-dev ## Ask whether a vulnerability of a dependency is known
	$(BIN)/python .ci/audit.py $(BIN)/pip-audit

format: $(VENV)/installed-dev ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(VENV)/installed-dev ## Write requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --quiet --output-file requirements.lock

clean: ## Remove what was installed and the Dagster instance; data/ stays
	rm -rf $(VENV) $(DAGSTER_HOME)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or later is needed; {sys.executable} is {sys.version}" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# torch first: where its CPU build is at hand, it is taken, and nothing later asks for another.
$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

# A pool that Dagster makes by itself bounds only what is queued after the run that it is made for: made beforehand here.
$(DAGSTER_HOME)/dagster.yaml: dagster.yaml | $(VENV)/installed
	mkdir -p $(DAGSTER_HOME)
	ln -sf $(CURDIR)/dagster.yaml $@
	$(BIN)/dagster instance concurrency set language_model 1 || { rm $@; exit 1; }
