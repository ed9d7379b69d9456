# The two commands a newcomer needs are `make demo` and `make test`. Each does all its own set-up, in .venv.

PYTHON ?= python3
DEMO ?=
TEST ?=
BENCH ?=
FAULTS ?=

BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_REQUIRE_VIRTUALENV := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint fix fuzz bench crash simulate faults docs lock clean

help:
	@echo 'make demo     see it work: a live community on your own machine   (make demo DEMO="--seconds 15")'
	@echo 'make test     run all tests            (make test TEST="tests/unit -k streak")'
	@echo
	@echo 'make lint     ruff, mypy --strict and the import contracts'
	@echo 'make fix      format, and repair what ruff can repair'
	@echo 'make fuzz     the fuzz tests with other examples, 50 times as many   (make fuzz N=1000)'
	@echo 'make bench    measure this machine     (make bench BENCH="fold --json")'
	@echo 'make crash    kill the engine and see that nothing is lost   (make crash N=5000, or SEED=17)'
	@echo 'make simulate the engine under seeded faults against a naive model   (make simulate SEEDS=5000, or SEED=17)'
	@echo 'make faults   break every server and process under load: nothing is lost   (make faults MINUTES=60)'
	@echo 'make docs     write the generated pages of docs/reference again'
	@echo 'make lock     pin every dependency again in requirements.lock'
	@echo 'make clean    remove .venv and all caches'
	@echo
	@echo 'Needs Python 3.11 or newer; PYTHON=python3.12 chooses another one.'

demo: .venv/ready
	@$(BIN)/accrue demo $(DEMO)

test: .venv/ready
	@$(BIN)/python -m pytest $(TEST)

# The short form is part of `make test`, always with the same examples; N times as many here, chosen at random.
fuzz: N = 50
fuzz: .venv/ready
	@ACCRUE_FUZZ=$(N) $(BIN)/python -m pytest tests/fuzz $(TEST)

lint: .venv/ready
	@$(BIN)/ruff check --quiet --output-format=concise .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check . ; echo 'make fix does that.'; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > .venv/imports.txt 2>&1 || { cat .venv/imports.txt; exit 1; }
	@echo 'lint: clean'

fix: .venv/ready
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

bench: .venv/ready
	@$(BIN)/accrue bench $(BENCH)

# The short form is part of `make test`. A failure names its SEED, which is all it takes to do it again.
N ?= 1000
SEED ?=
crash: .venv/ready
	@PYTHONPATH=src:tests $(BIN)/python -m crash.many --kills $(N) $(if $(SEED),--seed $(SEED))

docs: .venv/ready
	@$(BIN)/python docs/generate.py

# The short form is part of `make test`. A failing seed is printed, and is all it takes to do it again.
SEEDS ?= 5000
simulate: .venv/ready
	@PYTHONPATH=src:tests $(BIN)/python -m simulate $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

# The short form is part of `make test`. One round of all faults at least, and rounds for so long.
MINUTES ?= 10
faults: .venv/ready
	@PYTHONPATH=src:tests $(BIN)/python -m faults --minutes $(MINUTES) $(FAULTS)

# What an older lock pinned stays pinned unless it has to move; `make lock LOCK=--upgrade` takes the newest of all.
# A machine may have its own package index or mirror: none of that may reach the file, hence the --no-emit options.
LOCK ?=
EXTRAS := --extra dev --extra postgres --extra redis --extra rabbitmq --extra kafka --extra gateway
lock: .venv/locked
	@grep -v '^# ' requirements.lock > .venv/requirements.lock
	@$(BIN)/pip-compile --quiet --no-header --generate-hashes --strip-extras --allow-unsafe $(EXTRAS) $(LOCK) \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	    --output-file .venv/requirements.lock pyproject.toml
	@{ echo '# Every package that Accrue, its tests and its tools need, each with a hash. Written by `make lock`.'; \
	   cat .venv/requirements.lock; } > .venv/new.lock
	@cmp -s .venv/new.lock requirements.lock || cp .venv/new.lock requirements.lock

clean:
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

# Two steps, so that a changed pyproject.toml does not install every package again.
.venv/ready: .venv/locked pyproject.toml
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	    echo 'Accrue needs Python 3.11 or newer; "$(PYTHON)" is: '"$$($(PYTHON) --version 2>&1 || true)"; \
	    echo 'Name another one, for example: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12'; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	    echo '"$(PYTHON)" comes without its venv module. On Debian and Ubuntu: apt install python3-venv'; exit 1; } >&2
	@echo 'Setting up .venv (about a minute, once) ...'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@
