# make run   set up and run the demo end to end
# make ui    open Dagster on what it made, and serve the pages for people
# make live  the same world in the last weeks before today, where new days keep coming, in a home of its own
# make test  set up, check and test
# make test-slow   what takes minutes: years of public data, kills, a next release of Dagster
# make test-longest   the plan's executors, a real daemon among them, in one world; kills at every step; a million rows
# make test-dagster test what is private in Dagster against the newest one that the registry has, pre-releases too
# make test-mlflow  test the mirror against a real MLflow server, which is installed beside the environment (850 MB)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
export FACTORY_HOME ?= $(CURDIR)/.factory
export DAGSTER_HOME ?= $(FACTORY_HOME)/dagster
# Models are fitted side by side, one thread each; threads that wait by spinning would take each other's core.
export OMP_WAIT_POLICY ?= passive
# Events about the partitions of a run are written together; Dagster's own default is one by one.
export DAGSTER_EVENT_BATCH_SIZE ?= 100
export DAGSTER_DISABLE_TELEMETRY := 1
# Each process would compile all modules again, which takes it half a second.
unexport PYTHONDONTWRITEBYTECODE
PORT ?= 3000
PAGES_PORT ?= 3080
# Pages for people lead to Dagster's runs, and Dagster's assets to these pages, while `make ui` serves both.
run ui live: export FACTORY_DAGSTER_URL ?= http://127.0.0.1:$(PORT)
run ui live: export FACTORY_REPORTS_URL ?= http://127.0.0.1:$(PAGES_PORT)

.PHONY: run ui live test test-slow test-longest test-dagster test-mlflow check lint clean

run: .venv/run
	@$(BIN)/factory run

define served
	@$(BIN)/factory home
	@umask $${FACTORY_UMASK:-077}; pages="$${FACTORY_REPORTS:-$$FACTORY_HOME/reports}"; mkdir -p "$$pages"; \
		$(BIN)/python -m http.server $(PAGES_PORT) --bind 127.0.0.1 --directory "$$pages" & \
		trap "kill $$! 2>/dev/null" EXIT INT TERM; echo "all lines: $$FACTORY_REPORTS_URL/fleet.html"; \
		$(BIN)/dg dev --no-check-yaml --host 127.0.0.1 --port $(PORT)
endef

ui: .venv/run
	$(served)

live: export FACTORY_HOME := $(CURDIR)/.factory-live
live: export DAGSTER_HOME := $(CURDIR)/.factory-live/dagster
live: export FACTORY_DEFS := $(CURDIR)/.factory-live/defs
live: .venv/run
	@until=$$($(BIN)/factory demo $$FACTORY_DEFS) && $(BIN)/factory run --until $$until
	$(served)

test: lint
	@$(BIN)/python -m pytest -m "not slow and not longest" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=10

# The mirror needs an environment of its own: test-mlflow.
test-slow: .venv/test
	@$(BIN)/python -m pytest -m "slow and not longest" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=10 \
		--ignore tests/resources/test_mirror.py

# One that waits beside one that computes.
test-longest: .venv/test
	@$(BIN)/python -m pytest -m longest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=10 \
		tests/governor/test_daemon.py tests/governor/test_one_world.py tests/governor tests

test-dagster: .venv/test
	@$(BIN)/python -m pip install -q --disable-pip-version-check --pre --no-deps --upgrade --target .venv-dagster \
		dagster dagster-shared dagster-pipes dagster-postgres
	@PYTHONPATH=.venv-dagster $(BIN)/python -m pytest tests/resources/test_dagster_private.py

# The whole of MLflow holds pyarrow at a release older than ours: it gets an environment of its own, of the client's version.
test-mlflow: .venv/test .venv-mlflow/installed
	@$(BIN)/python -m pytest -m "slow or not slow" tests/resources/test_mirror.py

.venv-mlflow/installed: constraints.txt
	@$(PYTHON) -m venv .venv-mlflow
	@.venv-mlflow/bin/python -m pip install -q --disable-pip-version-check "mlflow==$$(sed -n 's/^mlflow-skinny==//p' constraints.txt)"
	@touch $@

lint: .venv/test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version)'
	@echo "Setting up .venv (once, about a minute) ..."
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run: .venv/made pyproject.toml constraints.txt
	@$(INSTALL) -e .
	@touch $@

# What it installs holds what .venv/run would.
.venv/test: .venv/made pyproject.toml constraints.txt
	@$(INSTALL) -e ".[dev]"
	@touch .venv/run $@

clean:
	rm -rf .factory .factory-live build *.egg-info
