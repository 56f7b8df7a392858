# Requires make, and Python 3.11 or later as `python3` (or PYTHON=...). Everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
DAY ?= $(shell date -u +%F)
# pip would compile every module, most of which are never imported. Instead, the ones that a run uses are imported once,
# which compiles them, also where PYTHONDONTWRITEBYTECODE keeps all later processes from doing so.
# Two processes share that work.
IMPORTED := transformers.models.gpt2.modeling_gpt2, be_great, rapidfuzz.process, jinja2
IMPORTED_FOR_RUNS := dagster._cli, dagster_dg_cli.cli, dagster_webserver.cli, dagster._core.storage.sqlite_storage, \
  dagster._core.storage.local_compute_log_manager, upath.core, synth_assets.orchestration.preload
PIP := $(BIN)/pip install --quiet --no-compile --constraint requirements.lock
# Tests of one file share fixtures, so they run in one process.
# With bytecode: many tests start processes, each of which would compile what it imports.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest
PARALLEL := $(PYTEST) --dist loadfile --no-loadscope-reorder --numprocesses
# One more than the cores: many slow tests wait for a server or a tick.
PROCESSES = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

export DAGSTER_HOME := $(CURDIR)/.dagster_home
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# Several processes read the file; an absolute path is valid in all of them.
ifdef ABALONE_CSV
export ABALONE_CSV := $(abspath $(ABALONE_CSV))
endif
ifdef TABLES
export TABLES := $(abspath $(TABLES))
endif

.PHONY: help demo dev test test-slow test-fault test-cluster test-all baseline bench bench-tables bench-attackers bench-pretrained \
  augmentation lint audit \
  format lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

demo: $(VENV)/installed $(DAGSTER_HOME)/dagster.yaml ## Run the whole abalone pipeline and print the main numbers
	$(BIN)/dg launch --job abalone_lineage --partition $(DAY)
	$(BIN)/synth-assets status

dev: $(VENV)/installed $(DAGSTER_HOME)/dagster.yaml ## Start the UI (on PORT), the daemon and the schedules
	$(BIN)/dg dev --host 127.0.0.1 --port $(PORT)

test: lint ## Run linters, type checks and quick tests
	$(PARALLEL) auto -m "not slow and not fault"

test-slow: $(VENV)/installed-dev ## Run tests that train models, start servers and drive a browser, and a real pretrained model
	$(PARALLEL) $(PROCESSES) -m "slow and not fault and not cluster"

test-fault: $(VENV)/installed-dev ## Run the fault tests (kills, full disks, damaged files), a few of each; FAULTS=full for all (half an hour)
	$(PYTEST) -m fault

test-cluster: $(VENV)/installed-dev ## Run lineages on Ray nodes and as the services of deploy/ (two minutes)
	$(PYTEST) -m cluster

test-all: $(VENV)/installed-dev ## Run the quick, slow and fault tests together, so that all cores are busy to the end
	$(PARALLEL) $(PROCESSES) -m "not cluster and not pretrained"

baseline: $(VENV)/installed ## Measure be_great as released, three seeds at two temperatures (a quarter of an hour)
	$(BIN)/python benchmarks/baseline.py

bench: $(VENV)/installed ## Measure the language model, be_great and peers side by side, three seeds each (half an hour; SLOW=1 adds slow peers)
	$(BIN)/python benchmarks/bench.py $(if $(SLOW),--slow-peers)

bench-tables: $(VENV)/installed ## Measure our synthesizers and peers on the field's tables (TABLES=folder of files; BENCH='--seeds 0 --cpu-minutes 10'; days with all peers)
	$(BIN)/python benchmarks/bench_tables.py $(BENCH)

bench-attackers: $(VENV)/installed ## Measure membership inference attacks on the language model and peers (TABLES=folder of files; an hour of CPU)
	$(BIN)/python benchmarks/attackers.py

bench-pretrained: $(VENV)/installed ## Measure a pretrained model of 135 million weights on 300 rows, beside be_great (BENCH='--epochs 3'; at most 40 minutes on two cores)
	$(BIN)/pip install --quiet --constraint requirements.lock -e '.[gguf,lora]'
	$(BIN)/python benchmarks/bench_pretrained.py $(BENCH)

augmentation: $(VENV)/installed ## Measure what synthetic rows add to 50 to 3,000 real ones (some 12 CPU minutes; BASE=distilgpt2 measures a pretrained model too, on 50 to 300)
	$(BIN)/python benchmarks/augmentation/main.py $(if $(BASE),--base $(BASE))

lint: $(VENV)/installed-dev ## Run linters and type checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
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
# The pip of an older Python needs twice the time for all packages.
	$(PYTHON) -m venv --upgrade-deps $(VENV)

# Where an index has a build of torch for CPUs, pip prefers it: `2.13.0+cpu` counts as the later version.
define install
	$(PIP) --editable '$(1)'
	$(BIN)/python -m compileall -q synth_assets
	export PYTHONDONTWRITEBYTECODE=; $(BIN)/python -c 'import $(IMPORTED)' & \
	  $(BIN)/python -c 'import $(IMPORTED_FOR_RUNS)' && wait $$!
endef

$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(call install,.)
	touch $@

# Not after `installed`: pip would build the package and look for its dependencies twice.
$(VENV)/installed-dev: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(call install,.[dev])
	touch $(VENV)/installed $@

# Create the pool in advance: one that Dagster creates itself does not limit runs queued together with the first one.
$(DAGSTER_HOME)/dagster.yaml: dagster.yaml | $(VENV)/installed
	mkdir -p $(DAGSTER_HOME)
	ln -sf $(CURDIR)/dagster.yaml $@
	$(BIN)/dagster instance concurrency set language_model 1 || { rm $@; exit 1; }
