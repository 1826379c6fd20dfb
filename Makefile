SHELL := /bin/bash
# Where the environment forbids it, every process would compile its libraries anew, which is half of its start.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
VENV := .venv
HOMELAB := $(VENV)/bin/homelab
LAB ?= examples/pi-cluster
LOCKS := $(shell cat requirements.lock requirements-dev.lock pyproject.toml | cksum | cut -d' ' -f1)
USERS := $(VENV)/.installed-$(LOCKS)
DEVELOPERS := $(VENV)/.installed-dev-$(LOCKS)
STYLE := $(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
TYPES := $(VENV)/bin/mypy && $(VENV)/bin/lint-imports --no-cache --no-logo
PYTEST := $(VENV)/bin/pytest -q
TEST_LAB := $(VENV)/bin/python -m homelab_platform_tests.testlab

help: ## Show what there is to run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# An environment with the developers' tools serves users too.
$(USERS):
	@[ -e $(DEVELOPERS) ] || scripts/install-environment requirements.lock $(VENV) $(USERS)

$(DEVELOPERS):
	@scripts/install-environment requirements-dev.lock $(VENV) $(DEVELOPERS)

setup: $(USERS) ## Install the locked environment into .venv

develop: $(DEVELOPERS) ## The same with what tests, benchmarks and types need

up: setup ## Set up, start the site of LAB (examples/pi-cluster; PROFILE=full for all servers), apply it, show readings
	@$(HOMELAB) up $(LAB) $(if $(PROFILE),--profile $(PROFILE))

backup: setup ## Save what the site of LAB holds, now (BACKUP_NAME=pre-patch names the snapshots)
	@$(HOMELAB) backup run $(if $(LAB),-l $(LAB)) $(if $(BACKUP_NAME),--label $(BACKUP_NAME))

down: setup ## Stop the embedded site of LAB; its data stays
	@$(HOMELAB) down $(LAB)

dev: setup ## dagster dev for LAB on http://127.0.0.1:3333, without telemetry; refused beside a running site
	@scripts/dev $(VENV) $(LAB)

lint: develop ## Style, types and the order of the folders
	@$(STYLE) && $(TYPES)

servers: setup ## Install the servers of the full profile for this user (once; NAMES="trino nifi" for some)
	@scripts/install-servers $(NAMES)

# Installing and the type checker run beside the tests; a test that needs a server waits for it, and no other does.
test: develop ## All tests, on real servers
	@began=$$(date +%s); scripts/install-servers > $(VENV)/servers.log 2>&1 & installing=$$!; \
	  $(TEST_LAB) install > $(VENV)/test-lab.log 2>&1 & lab=$$!; \
	  ($(TYPES)) > $(VENV)/types.log 2>&1 & types=$$!; \
	  if $(STYLE) && $(PYTEST) -n 3 --max-suite-reruns=4 --rerun-show-tracebacks --budget=60 --budget-cold=80 --began=$$began; then \
	    wait $$types || { cat $(VENV)/types.log; exit 1; }; \
	    wait $$installing && wait $$lab || { cat $(VENV)/servers.log $(VENV)/test-lab.log; exit 1; }; \
	  else kill $$types $$installing $$lab 2>/dev/null; cat $(VENV)/types.log $(VENV)/servers.log $(VENV)/test-lab.log; \
	    exit 1; fi

test-fast: develop ## Style, types and the tests that take less than three minutes together
	@began=$$(date +%s); ($(TYPES)) > $(VENV)/types.log 2>&1 & types=$$!; \
	  if $(STYLE) && HYPOTHESIS_PROFILE=fast $(PYTEST) -n 2 -m "not slow" --budget=3 --began=$$began; \
	  then wait $$types || { cat $(VENV)/types.log; exit 1; }; \
	  else kill $$types 2>/dev/null; cat $(VENV)/types.log; exit 1; fi

test-lab: develop ## Start three real hosts and a real Kubernetes in namespaces of this machine (as root); says how to get in
	@$(TEST_LAB) up

demo-lab: develop ## The platform makes the test lab real, from empty hosts to a mart of their own telemetry (as root)
	@$(TEST_LAB) demo

test-lab-down: develop ## Remove the test lab; nothing of it is left
	@$(TEST_LAB) down

BENCHES := plan_scale definitions_load anomalies ingest commit_cost compaction ingest_memory kill9_ingest object_to_row up \
  nifi_push sensor_to_trino trino_window kill9_platform host_noop lab_to_mart kill9_lab platform_on_cluster \
  flash

bench: develop ## Every benchmark (BENCHES="ingest up" for some); each ends with one JSON line. Two hours on a quiet machine
	@for name in $(BENCHES); do echo "== $$name"; $(VENV)/bin/python bench/$$name.py || exit 1; done

lock: develop ## Resolve the dependencies anew into requirements.lock
	@scripts/lock --upgrade

.PHONY: help setup develop up down dev backup servers lint test test-fast test-lab demo-lab test-lab-down bench lock
