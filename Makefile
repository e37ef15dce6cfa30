# `make run` and `make test` need Python >= 3.11 and nothing else; `make test` uses Node too, where it is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SDKS := .sdk
TOOLS := .deploy
# In the order of collection, folders first: what takes longest, with servers and processes, is not left for the end.
TESTS := $(BIN)/python -m pytest -q --numprocesses 4 --dist loadfile --no-loadscope-reorder
# Played through by the thousand: to count the lines they pass would take three times as long as to play them.
PLAYS := tests/conformance tests/faults tests/outages tests/sdk

# Python's caches are worth their while even in a container that is thrown away: four processes read the same tests.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test lint types unit coverage accounts faults deploy-check format bench schema docs prices screenshots clean

run: $(VENV)/.run  ## start the gateway on 127.0.0.1:4000, with the providers found in the environment
	$(BIN)/gateway serve $(ARGS)

# To check types takes half a minute where there is no cache of them. Meanwhile the tests begin; types are told last.
test: lint  ## everything that must hold before a change is taken
	@$(MAKE) --no-print-directory types >$(VENV)/types.log 2>&1 & types=$$!; \
	  $(MAKE) --no-print-directory unit; unit=$$?; \
	  wait $$types; types=$$?; cat $(VENV)/types.log; exit $$((unit + types))

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy

# Without the tools that judge deploy/, which need apt or Linux, some of its tests are skipped and say so.
unit: $(VENV)/.test $(SDKS)/.done
	-$(MAKE) --no-print-directory $(TOOLS)/.done
	$(TESTS) tests

coverage: $(VENV)/.test $(SDKS)/.done  ## which lines no test passes; it takes twice as long as the tests alone
	$(TESTS) --cov --cov-fail-under 90 $(addprefix --ignore ,$(PLAYS)) tests

format: $(VENV)/.test  ## what the formatter and the linter can do by themselves
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

schema: $(VENV)/.run  ## the JSON schema that editors use, from the models that read the configuration
	$(BIN)/python -m gateway.config.schema > config/gateway.schema.json

docs: $(VENV)/.test  ## the tables of docs/: every field, what works with each provider, what each fault comes to
	$(BIN)/python -m tests.config_reference
	$(BIN)/python -m tests.sdk.provider_table
	$(BIN)/python -m tests.faults --table

prices: $(VENV)/.run  ## what is known of models, anew; what it prints is to be read before it is taken over
	$(PIP) --upgrade --target .prices genai-prices
	$(PIP) --upgrade --no-deps --target .prices litellm
	PYTHONPATH=.prices $(BIN)/python -m prices $(ARGS)

screenshots: $(VENV)/.test  ## the pictures of docs/images, taken by Chromium of a gateway with simulated providers
	$(BIN)/python -m tests.dashboard.screenshots

accounts: $(VENV)/.test  ## twenty thousand calls and twenty crashes, each counted once
	$(BIN)/python -m tests.accounting $(ARGS)

faults: $(VENV)/.test  ## every fault with every provider, as docs/failover.md has them
	$(BIN)/python -m tests.faults $(ARGS)

deploy-check: $(VENV)/.test $(TOOLS)/.done  ## everything in deploy/ before its own judges: helm, promtool, Kubernetes' schemas, nginx, ...
	DEPLOY_TOOLS=required $(TESTS) tests/deploy

bench: $(VENV)/.test  ## CPU per call and per chunk against nginx; ARGS='--against litellm' adds the incumbent
	$(PIP) --editable '.[bench]'
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .venv-* $(SDKS) $(TOOLS) .prices build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	$(BIN)/python -m compileall -q gateway
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test]'
	touch $@ $(VENV)/.run

# The SDKs that the gateway is tried with: the newest openai-python is in the environment already.
$(SDKS)/.done: tests/sdk/package.json
	mkdir -p $(SDKS)
	$(PYTHON) -m venv $(SDKS)/python-1
	$(SDKS)/python-1/bin/python -m pip install --quiet --disable-pip-version-check 'openai>=1,<2'
	cp tests/sdk/package.json $(SDKS)/
	if command -v npm >/dev/null; then cd $(SDKS) && npm install --silent --no-audit --no-fund --no-package-lock; fi
	touch $@

# What judges deploy/ and is too large for the test extras, some 80 MB.
$(TOOLS)/.done: tests/deploy/fetch.py
	$(BIN)/python -m tests.deploy.fetch $(TOOLS)
	touch $@
