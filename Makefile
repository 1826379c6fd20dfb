SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
HOMELAB := $(VENV)/bin/homelab
LAB ?= examples/pi-cluster
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
PYTEST := $(VENV)/bin/pytest -q -n 2

help: ## Show what there is to run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP):
	@scripts/install-environment $(VENV) $(STAMP)

setup: $(STAMP) ## Install the locked environment into .venv

up: setup ## Set up, start the site of LAB (examples/pi-cluster; PROFILE=full for all servers), apply it, show readings
	@$(HOMELAB) up $(LAB) $(if $(PROFILE),--profile $(PROFILE))

down: setup ## Stop the embedded site of LAB; its data stays
	@$(HOMELAB) down $(LAB)

lint: setup ## Style and types
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

servers: setup ## Install the servers of the full profile for this user (once; NAMES="trino nifi" for some)
	@scripts/install-servers $(NAMES)

# Installing begins before the linters do; a test that needs a server waits for its installation, and no other does.
test: setup ## All tests, on real servers
	@scripts/install-servers > $(VENV)/servers.log 2>&1 & installing=$$!; \
	  if $(MAKE) --no-print-directory lint && $(PYTEST) --durations=10; then wait $$installing; \
	  else kill $$installing 2>/dev/null; cat $(VENV)/servers.log; exit 1; fi

test-fast: lint ## The tests that take less than three minutes together
	@$(PYTEST) -m "not slow"

BENCHES := plan_scale definitions_load anomalies ingest commit_cost ingest_memory kill9_ingest object_to_row up

bench: setup ## Every benchmark (BENCHES="ingest up" for some); each ends with one JSON line. An hour on a quiet machine
	@for name in $(BENCHES); do echo "== $$name"; $(VENV)/bin/python bench/$$name.py || exit 1; done

lock: setup ## Resolve the dependencies anew into requirements.lock
	@scripts/lock --upgrade

.PHONY: help setup up down servers lint test test-fast bench lock
