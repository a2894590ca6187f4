# `make` lists what there is.
PYTHON ?= python3
MODEL ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKS := $(addprefix requirements/,base.txt cpu.txt extras.txt parsers.txt dev.txt clients.txt)
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
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

unit: $(READY)  ## The fast tests alone (seconds)
	@$(BIN)/python -m pytest tests/unit -q

stores: $(READY)  ## The whole contract of the vector stores on all three of them, Milvus 2.3 included
	@$(BIN)/python -m pytest tests/contract --all-stores -k sink

chaos: $(READY)  ## Nodes, proxies and heads of a cluster killed under load, and an ingestion killed 20 times
	@$(BIN)/python -m pytest -m chaos -v -s
	@$(BIN)/python -m pytest tests/resilience/test_ingest_crash.py --kills 20 -s

check: $(READY)  ## Format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

bench: $(READY)  ## Measure everything but what is long and write docs/benchmarks.md
	@$(BIN)/python -m benchmarks.serving --peers --resume
	@$(BIN)/python -m benchmarks.isolation --resume
	@$(BIN)/python -m benchmarks.overload --resume
	@$(BIN)/python -m benchmarks.wide --resume
	@$(BIN)/python -m benchmarks.ingest --resume
	@$(BIN)/python -m benchmarks.autoscaling
	@$(MAKE) --no-print-directory report

gigabyte: $(READY)  ## Ingest a gigabyte of JSON lines: how much memory does it take?
	@$(BIN)/python -m benchmarks.ingest_memory
	@$(MAKE) --no-print-directory report

soak: $(READY)  ## A quarter of an hour of steady load: does memory grow?
	@$(BIN)/python -m benchmarks.soak
	@$(MAKE) --no-print-directory report

evaluate: $(READY)  ## Ingest a real corpus into three stores, and measure retrieval and masking
	@$(BIN)/python -m benchmarks.corpus
	@$(BIN)/python -m benchmarks.pii

report: $(READY)  ## Rewrite tables and pictures of docs/benchmarks.md from the rows
	@$(BIN)/python -m benchmarks.plots
	@$(BIN)/python -m benchmarks.report
	@$(BIN)/python -m benchmarks.autoscaling --report

peers: $(READY)  ## Make the environments of the other servers that `make bench` compares with
	@bash benchmarks/peers/setup.sh infinity

clean:  ## Remove .venv and caches
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

.PHONY: help setup demo serve test unit stores chaos check bench gigabyte soak evaluate report peers clean
.DEFAULT_GOAL := help
