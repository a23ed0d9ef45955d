PYTHON ?= python3
VENV := .venv
PORT := 8443
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Each of the thousand hosts and jobs of the tests would compile all modules.
unexport PYTHONDONTWRITEBYTECODE
PIN = $(BIN)/uv pip compile $(if $(UPGRADE),--upgrade) --quiet --universal --generate-hashes --no-header --python-version 3.11
SOURCES := bench client core deb docs examples hookspecs plugins testing tests

# Modules side by side, in the order of tests/conftest.py; the tests of one may share its host.
PARALLEL := -n 4 --dist loadscope --no-loadscope-reorder
FAULTS := build/faults
LONG_FAULTS = JIDOTEKI_FAULTS=long JIDOTEKI_FAULTS_RESULTS=$(FAULTS)/results $(BIN)/python -m pytest --timeout 3600
# What is about times and memory has the machine for itself.
MEASURED := $(addprefix tests/faults/test_,connections.py timing.py endurance.py)

.PHONY: setup docs faults faults-plain bench bench-quick soak help run test check types lock dist clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: $(READY) ## start a demo appliance on https://127.0.0.1:8443; PORT=9443 for another port
	$(BIN)/jidoteki demo --port $(PORT)

setup: $(READY) ## the virtual environment alone

test: $(READY) ## all tests that run in CI
	$(BIN)/python -m pytest $(PARALLEL)

COVERAGE := build/coverage
.PHONY: coverage measured
coverage: ## which lines the tests run, in the processes of hosts and jobs too; TESTS="tests/jobs/test_jobs.py" for some alone
	@rm -f $(COVERAGE)/data*
	@$(MAKE) --no-print-directory VENV=$(COVERAGE)/venv measured

# A job has none of the variables that its tests were started with, so this environment has an interpreter that sets them.
measured: $(READY)
	@printf 'import os; os.environ.update(COVERAGE_PROCESS_START="%s", COVERAGE_FILE="%s")\n' \
		$(CURDIR)/pyproject.toml $(CURDIR)/$(COVERAGE)/data \
		> $$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/a0_coverage.pth
	-$(BIN)/python -m pytest $(PARALLEL) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

MUTANTS := build/mutants
.PHONY: mutants
mutants: $(READY) $(MUTANTS)/.ready ## whether tests notice each small change of what decides; MODULES="throttle users", SAMPLE=20, WORKERS=1
	$(BIN)/python tests/mutants/run.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(WORKERS),--workers $(WORKERS)) $(MODULES)

$(MUTANTS)/.ready: requirements-mutants.txt
	$(PYTHON) -m venv $(MUTANTS)/venv
	$(MUTANTS)/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mutants.txt
	@touch $@

.PHONY: fuzz browser browser-late browser-quick vendor
fuzz: $(READY) ## at least 10,000 requests made by schemathesis out of the OpenAPI document
	JIDOTEKI_FUZZ_EXAMPLES=300 JIDOTEKI_FUZZ_CASES=10000 JIDOTEKI_FUZZ_SEED= $(BIN)/python -m pytest -s tests/fuzz

BROWSER := $(VENV)/.browser
$(BROWSER): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "playwright>=1.50,<2" axe-playwright-python
	@touch $@

browser: $(BROWSER) ## the dashboard and /docs in a real browser; needs the program chromium
	JIDOTEKI_BROWSER=long $(BIN)/python -m pytest -n 2 --dist loadscope tests/browser

browser-late: $(BROWSER) ## the same with a service that is late by chance, as on a slow machine; SEED=2 for another chance
	JIDOTEKI_BROWSER_LATE=$(or $(SEED),1) JIDOTEKI_BROWSER=long $(BIN)/python -m pytest -n 2 --dist loadscope tests/browser

# The way in, and what may go wrong worst; the other screens, their states and words are in `make browser`.
QUICK := access backup certificates keyboard look restart streams trials update
browser-quick: $(BROWSER) ## the most important of them in some minutes, as CI does
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow" $(patsubst %,tests/browser/test_dashboard_%.py,$(QUICK))

.PHONY: screenshots
screenshots: $(BROWSER) ## pictures of every screen in build/screenshots, to be looked at
	JIDOTEKI_SCREENSHOTS=build/screenshots $(BIN)/python -m pytest -n 2 tests/browser/screenshots.py

vendor: $(READY) ## fetch the libraries of the dashboard again and compare them with plugins/dashboard/vendor.json
	$(BIN)/python plugins/dashboard/vendor.py

JS := build/js
$(JS)/.ready: Makefile
	@mkdir -p $(JS)
	npm install --silent --no-audit --no-fund --no-save --prefix $(JS) typescript@5.9.3 oxlint@1.94.0
	@touch $@

.PHONY: check-scripts
check-scripts: # types and lint of what browsers run
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory checked-scripts; \
		else echo "NOT CHECKED: the scripts of the dashboard, as there is no npm here" >&2; fi

.PHONY: checked-scripts
checked-scripts: $(JS)/.ready
	$(JS)/node_modules/.bin/tsc -p plugins/dashboard/jsconfig.json
	$(JS)/node_modules/.bin/oxlint --deny-warnings --ignore-pattern '**/vendor/**' plugins/dashboard core/docs_page

check: $(READY) types check-scripts ## lint, formatting, types, import rules
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy -p jidoteki.hookspecs -p jidoteki.core -p jidoteki.plugins -p jidoteki.testing -p jidoteki.client
	@# What is imported from beside a test, and conftest.py that there may be one of in each folder.
	MYPYPATH=deb:tests $(BIN)/mypy deb docs tests --exclude 'tests/(browser|faults|mutants|vm|endpoints/update)/'
	for each in browser faults mutants vm endpoints/update; do MYPYPATH=tests/$$each:tests $(BIN)/mypy tests/$$each || exit 1; done
	for each in examples/*; do MYPYPATH=$$each:$$each/tests $(BIN)/mypy $$each || exit 1; done
	$(BIN)/lint-imports
	@# A test that cannot be imported fails here, and not after all others.
	@$(BIN)/python -m pytest --collect-only -qqq >build/collected || { cat build/collected; exit 1; }

faults: $(READY) ## every attack and fault in large numbers, with a table in docs/faults.md (half an hour; as root for tmpfs)
	@rm -rf $(FAULTS) && mkdir -p $(FAULTS)
	-$(LONG_FAULTS) $(MEASURED)
	-$(LONG_FAULTS) -n 2 --dist loadscope tests/faults $(addprefix --ignore ,$(MEASURED))
	-$(LONG_FAULTS) $(PARALLEL) tests/plugins/backup
	-JIDOTEKI_TEST_BIT_FLIPS=10000 $(BIN)/python -m pytest $(PARALLEL) tests/endpoints/update --junitxml $(FAULTS)/packages.xml
	$(BIN)/python tests/faults/report.py $(FAULTS)/results $(FAULTS)/packages.xml

.PHONY: cut-lines
cut-lines: $(READY) ## uploads of 1 GiB, by clients that nobody here wrote, over a line that is cut ten times
	JIDOTEKI_FAULTS=long $(BIN)/python -m pytest --timeout 3600 tests/plugins/test_uploads_plugin.py -k cut_ten_times

faults-plain: $(READY) ## the wire once more without asserts and without aiohttp's C extensions
	PYTHONOPTIMIZE=2 AIOHTTP_NO_EXTENSIONS=1 $(BIN)/python -W error::pytest.PytestConfigWarning -m pytest -n 2 --dist loadscope \
		tests/faults/test_malformed_requests.py tests/faults/test_authorization_matrix.py tests/http/test_http.py

bench: $(READY) ## ratios against references run side by side, in bench/results.json
	$(BIN)/python -m bench

bench-quick: $(READY) ## the same with small sizes, in two minutes
	$(BIN)/python -m bench --quick

soak: $(READY) ## ten minutes of mixed work, after which nothing may have grown
	$(BIN)/python -m bench.soak

docs: $(READY) ## write the hooks and the reference of the contract from their docstrings
	$(BIN)/python docs/hooks.py
	$(BIN)/python docs/reference.py

SITE := build/site
.PHONY: site
site: $(SITE)/.ready ## the documentation as a site in build/site/html; a link that leads nowhere is an error
	$(SITE)/venv/bin/sphinx-build --quiet --fail-on-warning --keep-going -d $(SITE)/doctrees -c docs . $(SITE)/html

$(SITE)/.ready: requirements-docs.txt
	$(PYTHON) -m venv $(SITE)/venv
	$(SITE)/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.txt
	@touch $@

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

lock: $(READY) ## pin, with hashes, what the product, its developers and the site need; UPGRADE=1 takes the newest
	$(PIN) pyproject.toml -o requirements-runtime.txt
	$(PIN) --constraints requirements-runtime.txt --extra dev pyproject.toml requirements.in -o requirements.txt
	$(PIN) --group docs -o requirements-docs.txt
	$(PIN) --group mutants -o requirements-mutants.txt

SUITES := bookworm trixie
.PHONY: vm-test
vm-test: $(READY) ## the package on Debian systems that boot in systemd-nspawn; as root; SUITES=trixie for one alone
	@# Each suite in a process of its own: most of the time goes by waiting.
	JIDOTEKI_VM="$(SUITES)" $(BIN)/python -m pytest -n 2 --dist loadgroup -rs --timeout 600 tests/vm tests/project/test_deb.py

.PHONY: vm-quick
vm-quick: $(READY) ## the most important of them on one system, in three minutes, as CI does
	JIDOTEKI_VM=bookworm $(BIN)/python -m pytest --timeout 600 -m short tests/vm

VM_SLOW = JIDOTEKI_VM="$(SUITES)" JIDOTEKI_VM_SLOW=1 $(BIN)/python -m pytest --timeout 1200
VM_CUTS := build/vm/cuts.xml
.PHONY: vm-cuts
vm-cuts: SUITES := bookworm
vm-cuts: $(READY) ## power cuts and reboots of a machine in qemu, with a table in docs/faults.md (an hour; as root)
	@mkdir -p $(dir $(VM_CUTS)) && rm -f $(VM_CUTS)
	-$(VM_SLOW) --junitxml $(VM_CUTS) \
		$(addprefix tests/vm/test_,power_cuts.py reboots.py update_restarts.py updates_of_the_system.py)
	$(BIN)/python tests/vm/report.py $(VM_CUTS)

.PHONY: vm-latency
vm-latency: $(READY) ## how long requests take while all works, in guests and in machines (ten minutes; as root)
	$(VM_SLOW) -s tests/vm/test_latency.py

SUITE := bookworm
ARCHITECTURE := amd64
.PHONY: deb
deb: $(READY) ## the Debian package, in dist; SUITE=trixie, ARCHITECTURE=arm64
	$(BIN)/python deb/build.py --suite $(SUITE) --architecture $(ARCHITECTURE)

.PHONY: tcz
tcz: $(READY) ## the extension for TinyCore, in dist; needs mksquashfs
	$(BIN)/python deb/tcz.py

dist: $(READY) ## the source distribution and the wheel, in dist
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info
