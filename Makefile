# Two commands: `make demo` runs the main job, `make test` passes the tests. Each sets up all it needs.
# Prerequisites: Linux, python3 (3.11 or newer) with pip, and make.

SHELL := /bin/bash
PYTHON ?= python3
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/outhaul
UV := $(CACHE)/tools/bin/uv
BIN := .venv/bin
PYTEST := $(BIN)/pytest

export OUTHAUL_HOME ?= $(CURDIR)/.outhaul
export UV_LINK_MODE ?= copy

.PHONY: help setup demo down check lint test test-unit test-contract test-router test-flows test-system test-kill bench lock clean

help:  ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(BIN)/.ready  ## A virtual environment with everything in it

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "missing: python3, 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "missing: Python 3.11 or newer ($(PYTHON) is $$($(PYTHON) -V)); name one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "missing: pip for $(PYTHON) (Debian: apt install python3-pip)"; exit 1; }
	@echo "fetching uv"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target $(CACHE)/tools 'uv>=0.8'

$(BIN)/.ready: pyproject.toml requirements.txt | $(UV)
	@echo "setting up .venv"
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

demo: setup  ## From examples/digits to a served model, and one scoring request
	@$(BIN)/python -m outhaul.demo

down: setup  ## Stop what the demo started
	@$(BIN)/outhaul down

check: lint test  ## Everything that CI checks

lint: setup  ## Style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup test-unit test-contract test-router test-flows test-system  ## All tests

test-unit: setup  ## Pure and quick: seconds
	$(PYTEST) tests/unit -n 2 --timeout 30

test-contract: setup  ## One suite per port, over every adapter
	$(PYTEST) tests/contract

test-router: setup  ## The router on a real HAProxy
	$(PYTEST) tests/router

test-flows: setup  ## The flows on a real Prefect server
	$(PYTEST) tests/flows --timeout 600

test-system: setup  ## The whole, as a user meets it
	$(PYTEST) tests/system --timeout 900

test-kill: setup  ## SIGKILL at the start and the end of every step
	$(PYTEST) tests/kill --timeout 3000

bench: setup  ## The benchmarks, each beside its peer; prints ratios
	@for bench in benchmarks/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

lock: | $(UV)  ## Compile requirements.txt from pyproject.toml
	$(UV) pip compile --quiet --universal --all-extras --group dev --no-annotate --no-header --python-version 3.11 -o requirements.txt pyproject.toml

clean: ## Remove the virtual environment and the demo's home
	-@test -x $(BIN)/outhaul && $(BIN)/outhaul down
	rm -rf .venv .outhaul
