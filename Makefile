# Every target works on a bare machine: it makes .venv by itself, with uv where uv is on PATH, with pip where not.
# PYTHON chooses the interpreter (3.11 or newer), ENV where its environment is, ARGS goes to `hippo demo` or to pytest:
#   make test PYTHON=python3.13 ENV=.venv-3.13 ARGS="tests/unit -k envelope"

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
endif
UV := $(shell command -v uv 2>/dev/null)
NPM := $(shell command -v npm 2>/dev/null)

ENV := .venv
BIN := $(ENV)/bin
INSTALL := $(if $(UV),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check) --quiet
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"

# Stamps. The first is named after what made the environment, so that another choice makes another environment.
VENV := $(ENV)/.made-by-$(if $(UV),uv,pip)-for-$(subst /,-,$(PYTHON))
PACKAGE := $(ENV)/.package
TOOLS := $(ENV)/.tools
BENCH_PACKAGES := bench/node/node_modules/.installed
PEER_PACKAGES := .venv-peers/.installed
ARQ_PACKAGES := .venv-peers-arq/.installed
NODE_PACKAGES := tests/interop/node_modules/.installed

# The Pythons that are here, as VERSION=PROGRAM. A program on PATH may be no more than a signpost, so each is tried.
PYTHONS = $(shell for version in 3.11 3.12 3.13; do \
	for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	$$python -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null \
	&& echo $$version=$$python && break; done; done)
MAIN_VERSION = $(shell $(PYTHON) -c "import sys; print('%d.%d' % sys.version_info[:2])")
OTHERS = $(filter-out $(MAIN_VERSION)=%,$(PYTHONS))
# Tests mostly wait for servers and processes, so two at a time are done in half the time; TESTERS=0 is one process.
TESTERS := 2
# What Python has a say in. Scripts are the same in all, and what kills processes or takes long runs on each in the night.
PYTHONIC := tests/unit tests/contract tests/integration/test_examples.py -m 'not chaos and not slow'

.PHONY: help demo test versions nightly bench bench-all bench-light bench-sending bench-growth bench-distance bench-slow-jobs bench-stages bench-profile bench-scripts bench-instructions bench-register bench-redrive bench-backlog bench-calls bench-idle bench-peers chaos check fix format lint mypy pyright imports reference reference-check node-packages

# What stands behind '##' beside a target is its line here.
help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(PACKAGE) ## real events through services, brokers and workers on a server of their own
	@$(BIN)/hippo demo $(ARGS)

test: $(TOOLS) node-packages ## every test for which this machine has what it needs; ARGS="tests/unit" for some of them
	@$(WITH_NODE) $(BIN)/python -m pytest --numprocesses=$(TESTERS) $(ARGS)

versions: ## the tests that depend on Python, on every other Python that is here
	@echo 'Pythons besides $(MAIN_VERSION): $(or $(OTHERS),none)'
	@$(foreach python,$(OTHERS),$(MAKE) --no-print-directory test PYTHON=$(lastword $(subst =, ,$(python))) \
		ENV=.venv-$(firstword $(subst =, ,$(python))) ARGS="-q $(PYTHONIC)" &&) true

nightly: ## every test, on every Python and on both servers, with many more random cases; then chaos
	@echo 'Pythons: $(PYTHONS)'
	@$(foreach python,$(PYTHONS),$(MAKE) --no-print-directory test PYTHON=$(lastword $(subst =, ,$(python))) \
		ENV=.venv-$(firstword $(subst =, ,$(python))) ARGS="-q" &&) true
	@HIPPO_TEST_SERVER=redis-server HIPPO_TEST_EXAMPLES=20 $(MAKE) --no-print-directory test ARGS="-q --timeout=1800"
	@$(MAKE) --no-print-directory chaos

chaos: $(TOOLS) node-packages ## a running system is broken in every way, and every event accounted for, in about 25 minutes
	@$(WITH_NODE) $(BIN)/python -m tests.chaos.run $(ARGS)

bench: $(TOOLS) $(BENCH_PACKAGES) ## the speed beside stock BullMQ
	@$(WITH_NODE) $(BIN)/python -m bench.end_to_end $(ARGS)

# What CI runs: whether the lead over stock BullMQ is still there, not how large it is. A run measured 2.4; 1.6 is a third
# less.
bench-light: $(TOOLS) $(BENCH_PACKAGES) ## ours and Node in a minute; fails where ours is not well ahead
	@$(WITH_NODE) $(BIN)/python -m bench.end_to_end --events 5000 --latency-seconds 0 --persistence off \
		--only ours,node-50,node-200 --fail-below 1.6 $(ARGS)

# All of docs/benchmarks.md; an hour and a half.
bench-all: ## every benchmark of docs/benchmarks.md, an hour and a half
	@$(MAKE) --no-print-directory bench ARGS="--rates 100,1000 --live"
	@$(MAKE) --no-print-directory bench \
		ARGS="--events 10000 --bytes 400,4096,65536 --services 1,3,10 --persistence on --latency-seconds 0 --only ours,node-50,python-50"
	@$(MAKE) --no-print-directory bench \
		ARGS="--only ours,node-50,node-200 --latency-seconds 0 --server 'redis-server --hash-max-listpack-value 64'"
	@$(foreach part,peers sending distance slow-jobs growth backlog calls register idle scripts stages profile redrive instructions,\
		$(MAKE) --no-print-directory bench-$(part) ARGS= &&) true

bench-sending: $(TOOLS) $(BENCH_PACKAGES) ## what sending alone costs
	@$(WITH_NODE) $(BIN)/python -m bench.sending $(ARGS)

bench-growth: $(TOOLS) $(BENCH_PACKAGES) ## what listeners, services and waiting events cost
	@$(WITH_NODE) $(BIN)/python -m bench.growth $(ARGS)

bench-distance: $(TOOLS) $(BENCH_PACKAGES) ## events a second with Redis a millisecond away
	@$(WITH_NODE) $(BIN)/python -m bench.distance $(ARGS)

bench-slow-jobs: $(TOOLS) $(BENCH_PACKAGES) ## what slow jobs do to others
	@$(WITH_NODE) $(BIN)/python -m bench.slow_jobs $(ARGS)

bench-stages: $(TOOLS) ## where the milliseconds of one event go
	@$(BIN)/python -m bench.stages $(ARGS)

bench-profile: $(TOOLS) $(BENCH_PACKAGES) ## what each process does meanwhile, and whose code it runs
	@$(WITH_NODE) $(BIN)/python -m bench.profile $(ARGS)

bench-scripts: $(TOOLS) ## what each script call costs Redis
	@$(BIN)/python -m bench.scripts $(ARGS)

bench-instructions: $(TOOLS) ## what scripts cost, in instructions
	@$(BIN)/python -m bench.instructions $(ARGS)

bench-register: $(TOOLS) ## how long a registration takes
	@$(BIN)/python -m bench.register $(ARGS)

bench-redrive: $(TOOLS) ## how fast dead letters are redriven
	@$(BIN)/python -m bench.redrive $(ARGS)

bench-backlog: $(TOOLS) ## memory and speed with a million waiting events
	@$(BIN)/python -m bench.backlog $(ARGS)

bench-calls: $(TOOLS) ## how long calls hold Redis
	@$(BIN)/python -m bench.calls $(ARGS)

bench-idle: $(TOOLS) ## what processes cost that have nothing to do
	@$(BIN)/python -m bench.idle $(ARGS)

bench-peers: $(TOOLS) $(BENCH_PACKAGES) $(PEER_PACKAGES) $(ARQ_PACKAGES) ## the speed beside FastStream, Celery, Dramatiq, taskiq and others, on Redis, RabbitMQ and NATS
	@$(WITH_NODE) $(BIN)/python -m bench.peers $(ARGS)

check: format lint mypy pyright imports reference-check ## formatting, lint, types (mypy and pyright), the direction of imports, and reference-check

fix: $(TOOLS) ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

format: $(TOOLS) ## whether all is formatted
	$(BIN)/ruff format --check .

lint: $(TOOLS) ## what ruff says
	$(BIN)/ruff check .

mypy: $(TOOLS) ## types, by mypy
	$(BIN)/mypy --strict src tests scripts examples bench

pyright: $(TOOLS) ## types, by pyright
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python src

reference: $(TOOLS) ## the pages of the docs that are made from the code
	$(BIN)/python scripts/make_reference.py

reference-check: $(TOOLS) ## whether those pages are up to date
	$(BIN)/python scripts/make_reference.py --check

imports: $(TOOLS) ## the direction of imports
	$(BIN)/lint-imports --no-logo

$(VENV):
ifdef UV
	@rm -rf $(ENV)
	@uv venv --quiet --python '$(if $(PYTHON),$(PYTHON),>=3.11)' $(ENV)
else
	@test -n '$(PYTHON)' || { echo 'expected Python 3.11 or newer on PATH, found none: install one, or name it: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(ENV) || { echo '$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv), or uv' >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
endif
	@touch $@

$(PACKAGE): pyproject.toml $(VENV)
	@echo 'Installing the package into $(ENV) ...'
	@$(INSTALL) --editable '.[all]'
	@touch $@

# A wheel brings Node where the machine has none: pyright needs it, and so do the tests against stock BullMQ.
$(TOOLS): $(PACKAGE)
	@echo 'Installing the tools into $(ENV) ...'
	@$(INSTALL) --group dev $(if $(NPM),,--group node)
	@touch $@

$(BENCH_PACKAGES): bench/node/package.json | $(TOOLS)
	@cd bench/node && $(WITH_NODE) npm install --no-audit --no-fund --loglevel=error && touch node_modules/.installed

$(PEER_PACKAGES): bench/peers/requirements.txt
$(ARQ_PACKAGES): bench/peers/requirements-arq.txt

# Where they can't be installed the others still run, and these are listed with what they lack.
$(PEER_PACKAGES) $(ARQ_PACKAGES): | $(TOOLS)
	@echo 'Installing contenders into $(@D) ...'
	@rm -rf $(@D)
	@$(if $(UV),uv venv --quiet --python $(BIN)/python $(@D),$(BIN)/python -m venv $(@D))
	@$(if $(UV),uv pip install --python $(@D)/bin/python,$(@D)/bin/python -m pip install --disable-pip-version-check) \
		--quiet --requirement $< && touch $@ \
		|| echo 'the packages of $< could not be installed: their contenders will not run' >&2

node-packages: $(NODE_PACKAGES) ## the Node packages that the tests talk to

# Without a package registry at hand the other tests still run; those that need these packages skip, or fail in CI.
$(NODE_PACKAGES): tests/interop/package.json | $(TOOLS)
	@echo 'Installing the Node packages into tests/interop ...'
	@cd tests/interop && $(WITH_NODE) npm install --no-audit --no-fund --loglevel=error && touch node_modules/.installed \
		|| echo 'the Node packages could not be installed: the interop tests have nothing to talk to' >&2
