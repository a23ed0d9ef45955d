PYTHON ?= python3
VENV := .venv
PORT := 8443
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := bench client core docs examples hookspecs plugins testing tests

FAULTS := build/faults
LONG_FAULTS = JIDOTEKI_FAULTS=long JIDOTEKI_FAULTS_RESULTS=$(FAULTS)/results $(BIN)/python -m pytest --timeout 3600
# What is about times and memory has the machine for itself.
MEASURED := $(addprefix tests/faults/test_,connections.py timing.py endurance.py)

.PHONY: setup docs faults faults-plain bench bench-quick soak help run test check types lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: $(READY) ## start a demo appliance on https://127.0.0.1:8443; PORT=9443 for another port
	$(BIN)/jidoteki demo --port $(PORT)

setup: $(READY) ## the virtual environment alone

test: $(READY) ## all tests that run in CI
	$(BIN)/python -m pytest

.PHONY: fuzz browser
fuzz: $(READY) ## at least 10,000 requests made by schemathesis out of the OpenAPI document
	JIDOTEKI_FUZZ_EXAMPLES=300 JIDOTEKI_FUZZ_CASES=10000 JIDOTEKI_FUZZ_SEED= $(BIN)/python -m pytest -n0 -s tests/fuzz

browser: $(READY) ## /docs in a real browser; needs the program chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "playwright>=1.50,<2"
	$(BIN)/python -m pytest -n0 tests/browser

check: $(READY) types ## lint, formatting, types, import rules
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy -p jidoteki.hookspecs -p jidoteki.core -p jidoteki.plugins -p jidoteki.testing -p jidoteki.client
	$(BIN)/lint-imports

faults: $(READY) ## every attack and fault in large numbers, with a table in docs/faults.md (half an hour; as root for tmpfs)
	@rm -rf $(FAULTS) && mkdir -p $(FAULTS)
	-$(LONG_FAULTS) -n 0 $(MEASURED)
	-$(LONG_FAULTS) -n 2 tests/faults $(addprefix --ignore ,$(MEASURED))
	-JIDOTEKI_TEST_BIT_FLIPS=10000 $(BIN)/python -m pytest tests/updates --junitxml $(FAULTS)/packages.xml
	$(BIN)/python tests/faults/report.py $(FAULTS)/results $(FAULTS)/packages.xml

faults-plain: $(READY) ## the wire once more without asserts and without aiohttp's C extensions
	PYTHONOPTIMIZE=2 AIOHTTP_NO_EXTENSIONS=1 $(BIN)/python -W error::pytest.PytestConfigWarning -m pytest -n 2 \
		tests/faults/test_malformed_requests.py tests/faults/test_authorization_matrix.py tests/test_http.py

bench: $(READY) ## ratios against references run side by side, in bench/results.json
	$(BIN)/python -m bench

bench-quick: $(READY) ## the same with small sizes, in two minutes
	$(BIN)/python -m bench --quick

soak: $(READY) ## ten minutes of mixed work, after which nothing may have grown
	$(BIN)/python -m bench.soak

docs: $(READY) ## write the hooks and the reference of the contract from their docstrings
	$(BIN)/python docs/hooks.py
	$(BIN)/python docs/reference.py

types: # one import package for the type checker, as it is once installed
	@mkdir -p build/types/jidoteki
	@for part in client core hookspecs plugins testing; do ln -sfn ../../../$$part build/types/jidoteki/$$part; done

$(READY): requirements.txt pyproject.toml | types
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=lenient -e .
	@# Type checkers follow this, and not what an editable installation puts into sys.meta_path. New modules are there at once.
	$(BIN)/python -c 'import pathlib, site; pathlib.Path(site.getsitepackages()[0], "jidoteki.pth").write_text("$(CURDIR)/build/types\n")'
	@touch $@

lock: $(READY) ## pin the newest allowed dependencies, with hashes, in requirements.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra dev \
		--python-version 3.11 pyproject.toml requirements.in -o requirements.txt

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info
