PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := client core plugins hookspecs testing tests

.PHONY: help run test check types lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: $(READY) ## start a demo appliance on https://127.0.0.1:8443
	$(BIN)/jidoteki demo

test: $(READY) ## all tests that run in CI
	$(BIN)/python -m pytest

check: $(READY) types ## lint, formatting, types, import rules
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy -p jidoteki.hookspecs -p jidoteki.core -p jidoteki.plugins -p jidoteki.testing -p jidoteki.client
	$(BIN)/lint-imports

types: # one import package for the type checker, as it is once installed
	@mkdir -p build/types/jidoteki
	@for part in client core hookspecs plugins testing; do ln -sfn ../../../$$part build/types/jidoteki/$$part; done

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lock: $(READY) ## pin the newest allowed dependencies, with hashes, in requirements.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra dev \
		--python-version 3.11 pyproject.toml requirements.in -o requirements.txt

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info
