# `make` lists what there is.
PYTHON ?= python3
MODEL ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements/base.txt requirements/cpu.txt requirements/dev.txt
READY := $(VENV)/.ready

help:  ## List the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(READY)  ## Make .venv with everything pinned (about 3 minutes the first time)

$(READY): $(LOCKS) pyproject.toml requirements/install.sh
	@PYTHON="$(PYTHON)" bash requirements/install.sh $(VENV) $(LOCKS)
	@touch $@

demo: $(READY)  ## Start a cluster, ingest a folder, ask four questions, stop (MODEL=… for another model)
	@$(BIN)/python examples/demo.py $(if $(MODEL),--model "$(MODEL)")

serve: $(READY)  ## Keep a cluster up on port 8000 (MODEL=… for another model)
	@$(BIN)/embedctl serve $(if $(MODEL),--model "$(MODEL)")

test: $(READY)  ## Every test, with real vLLM, Ray Serve and Milvus
	@$(BIN)/python -m pytest

unit: $(READY)  ## The fast tests alone (seconds)
	@$(BIN)/python -m pytest tests/unit -q

check: $(READY)  ## Format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

bench: $(READY)  ## Measure against bare vLLM and write docs/benchmarks.md (about 8 minutes)
	@$(BIN)/python -m benchmarks.serving && $(BIN)/python -m benchmarks.report

clean:  ## Remove .venv and caches
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

.PHONY: help setup demo serve test unit check bench clean
.DEFAULT_GOAL := help
