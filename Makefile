# Everything runs in .venv, which every target makes for itself when it is missing or its lock changed.
#
#   make demo    simulate a day, audit it, say where the report is
#   make test    every test whose tools are there; says what it skipped
#   make check   lint, types, import rules, artifacts, tidiness

.DEFAULT_GOAL := help
.PHONY: help setup demo tools test long check bench lock clean

# A name on PATH is not yet a Python that runs: version managers leave shims behind.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
  $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
  && { echo $$name; break; }; done)
BIN := .venv/bin
RUN := .venv/run.stamp
DEV := .venv/dev.stamp
PYTEST ?= -n 2 --dist loadfile --no-loadscope-reorder
FOUNDRY := 1.7.1
BEANCOUNT := 3.2.3
AXE := 4.14.1
ETHERS := 6.17.0
VIEM := 2.57.20
HARDHAT := 2.29.1
PEERS := node_modules/.hardhat/.peers-$(HARDHAT)
TOOLS := node_modules/.tools-$(FOUNDRY)-$(ETHERS)-$(VIEM)-$(BEANCOUNT)-$(AXE)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(DEV) ## .venv with everything that development needs

demo: $(RUN) ## a simulated day on the IEEE 33-bus feeder, and its audit
	@rm -rf out/demo
	@echo "simulating a day into out/demo, some seconds" >&2
	@$(BIN)/wattbook simulate node/scenarios/ieee33-day.toml --out out/demo
	@echo "auditing out/demo/bundle" >&2
	@$(BIN)/wattbook audit out/demo/bundle
	@echo
	@echo "report:  out/demo/report.html"
	@echo "tables:  out/demo/*.csv"
	@echo "audit:   $(BIN)/wattbook audit out/demo/bundle"

tools: $(TOOLS) ## programs that some tests run beside Wattbook (anvil, cast, ethers, viem, beancount, axe, Chromium)

$(TOOLS):
	@command -v npm >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends nodejs npm; \
	else echo "error: tools need npm; on Debian: apt install nodejs npm" >&2; exit 1; fi
	@npm install --prefix . --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --silent \
	  @foundry-rs/anvil@$(FOUNDRY) @foundry-rs/cast@$(FOUNDRY) ethers@$(ETHERS) viem@$(VIEM) axe-core@$(AXE)
	@$(PYTHON) -m venv node_modules/.beancount
	@node_modules/.beancount/bin/pip install -q --disable-pip-version-check beancount==$(BEANCOUNT)
	@ln -sf ../.beancount/bin/bean-check node_modules/.bin/bean-check
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; \
	else echo "note: no Chromium, so its tests are skipped; on Debian: apt install chromium" >&2; fi
	@node_modules/.bin/anvil --version | head -1
	@node_modules/.bin/cast --version | head -1
	@touch $@

test: $(DEV) ## every test whose tools are there
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" $(BIN)/python -m pytest $(PYTEST) -m "not long"

# Lives that were lived are kept in out/lives; LIVES="--seconds 1800" stops early, and FIRST=… begins elsewhere.
FIRST ?= 0
LIVES ?=

long: $(DEV) ## the tests that take hours, full counts; writes tests/long/REPORT.md
	@mkdir -p out
	@$(BIN)/python -m tests.long.lives out/lives --first $(FIRST) $(LIVES)
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" $(BIN)/python -m pytest $(PYTEST) -m long --junitxml=out/long.xml; \
	  $(BIN)/python -m tests.long.report tests/long/REPORT.md --lives out/lives --first $(FIRST) --junit out/long.xml

check: $(DEV) ## lint, types, import rules, artifacts, tidiness
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m contracts.build --check
	@$(BIN)/python -m pytest tests/house/test_tidy.py

# Beside the tools, hardhat weighs 290 MB and the packages that auctions and prices are compared with 2.6 GB, so they
# come only for this, into environments of their own; what cannot be installed is named so in the page.
bench: $(DEV) ## the figures Wattbook is measured by, beside other packages
	@command -v npm >/dev/null && $(MAKE) -s $(TOOLS) $(PEERS) || echo "without anvil or hardhat: npm could not install them" >&2
	@$(BIN)/python -m tests.peers.install || true
	@PATH="$(CURDIR)/node_modules/.bin:$(CURDIR)/node_modules/.hardhat/node_modules/.bin:$$PATH" $(BIN)/wattbook bench --out out/bench

$(PEERS):
	@mkdir -p $(@D)
	@npm install --prefix $(@D) --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --silent \
	  hardhat@$(HARDHAT)
	@touch $@

lock: $(DEV) ## resolve the locks again from pyproject.toml
	@cd requirements && for lock in run dev bootstrap; do \
	  case $$lock in run) from="../pyproject.toml build.in";; \
	  dev) from="../pyproject.toml build.in --group ../pyproject.toml:dev";; *) from=bootstrap.in;; esac; \
	  ../$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url $$from -o $$lock.lock; done

clean: ## remove what was made, .venv included
	rm -rf .venv node_modules out dist build

$(RUN): requirements/run.lock requirements/bootstrap.lock requirements/install.py pyproject.toml
	@$(MAKE) -s python-found
	@$(PYTHON) requirements/install.py run
	@touch $@

# The development lock contains the runtime's, so one installation serves both.
$(DEV): requirements/dev.lock requirements/bootstrap.lock requirements/install.py pyproject.toml
	@$(MAKE) -s python-found
	@$(PYTHON) requirements/install.py dev
	@touch $@ $(RUN)

.PHONY: python-found
python-found:
	@[ -n "$(PYTHON)" ] || { echo "error: no Python 3.11 to 3.13 found; on Debian: apt install python3 python3-venv" >&2; exit 1; }
