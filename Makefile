# Every target works on a bare machine: it makes .venv by itself, with uv where uv is on PATH, with pip where not.
# PYTHON chooses the interpreter (3.11 or newer), ARGS goes to `hippo demo` or to pytest:
#   make test PYTHON=python3.13 ARGS="tests/unit -k envelope"

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
endif
UV := $(shell command -v uv 2>/dev/null)
NPM := $(shell command -v npm 2>/dev/null)

BIN := .venv/bin
INSTALL := $(if $(UV),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check) --quiet
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"

# Stamps. The first is named after what made the environment, so that another choice makes another environment.
VENV := .venv/.made-by-$(if $(UV),uv,pip)-for-$(subst /,-,$(PYTHON))
PACKAGE := .venv/.package
TOOLS := .venv/.tools
BENCH_PACKAGES := bench/node/node_modules/.installed
NODE_PACKAGES := tests/interop/node_modules/.installed

.PHONY: help demo test bench check fix format lint mypy pyright imports node-packages

help:
	@echo 'make demo    real events through services, brokers and workers on a server of their own'
	@echo 'make test    every test; ARGS="tests/unit" for some of them'
	@echo 'make bench   the speed beside stock BullMQ'
	@echo 'make check   formatting, lint, types (mypy and pyright) and the direction of imports'
	@echo 'make fix     what ruff can mend by itself'

demo: $(PACKAGE)
	@$(BIN)/hippo demo $(ARGS)

test: $(TOOLS) node-packages
	@$(WITH_NODE) $(BIN)/python -m pytest $(ARGS)

bench: $(TOOLS) $(BENCH_PACKAGES)
	@$(WITH_NODE) $(BIN)/python bench/end_to_end.py $(ARGS)

check: format lint mypy pyright imports

fix: $(TOOLS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

format: $(TOOLS)
	$(BIN)/ruff format --check .

lint: $(TOOLS)
	$(BIN)/ruff check .

mypy: $(TOOLS)
	$(BIN)/mypy --strict src tests scripts examples bench

pyright: $(TOOLS)
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python src

imports: $(TOOLS)
	$(BIN)/lint-imports --no-logo

$(VENV):
ifdef UV
	@rm -rf .venv
	@uv venv --quiet --python '$(if $(PYTHON),$(PYTHON),>=3.11)' .venv
else
	@test -n '$(PYTHON)' || { echo 'expected Python 3.11 or newer on PATH, found none: install one, or name it: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv || { echo '$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv), or uv' >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
endif
	@touch $@

$(PACKAGE): pyproject.toml $(VENV)
	@echo 'Installing the package into .venv ...'
	@$(INSTALL) --editable '.[all]'
	@touch $@

# A wheel brings Node where the machine has none: pyright needs it, and so do the tests against stock BullMQ.
$(TOOLS): $(PACKAGE)
	@echo 'Installing the tools into .venv ...'
	@$(INSTALL) --group dev $(if $(NPM),,--group node)
	@touch $@

$(BENCH_PACKAGES): bench/node/package.json | $(TOOLS)
	@cd bench/node && $(WITH_NODE) npm install --no-audit --no-fund --loglevel=error && touch node_modules/.installed

node-packages: $(NODE_PACKAGES)

# Without a package registry at hand the other tests still run; those that need these packages skip, or fail in CI.
$(NODE_PACKAGES): tests/interop/package.json | $(TOOLS)
	@echo 'Installing the Node packages into tests/interop ...'
	@cd tests/interop && $(WITH_NODE) npm install --no-audit --no-fund --loglevel=error && touch node_modules/.installed \
		|| echo 'the Node packages could not be installed: the interop tests have nothing to talk to' >&2
