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

up: setup ## Set up, start the embedded site, apply LAB (examples/pi-cluster) and show the first readings
	@$(HOMELAB) up $(LAB)

down: setup ## Stop the embedded site of LAB; its data stays
	@$(HOMELAB) down $(LAB)

lint: setup ## Style and types
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

test: lint ## All tests, on real servers
	@$(PYTEST) --durations=10

test-fast: lint ## The tests that take less than three minutes together
	@$(PYTEST) -m "not slow"

bench: setup ## Every benchmark; each ends with one JSON line
	@for script in bench/[a-z]*.py; do case $$script in *common.py|*peers.py) ;; *) echo "== $$script"; \
	  $(VENV)/bin/python $$script || exit 1;; esac; done

lock: setup ## Resolve the dependencies anew into requirements.lock
	@scripts/lock --upgrade

.PHONY: help setup up down lint test test-fast bench lock
