# Every target sets up what it needs from a bare checkout; a second run does not set up again. What
# stands after ## is what `make help` says of a target.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

# An environment of its own for the lowest versions that pyproject.toml declares, Python's too, and
# the tests that run there: what each dependency is used for, at least once.
LOWEST := .venv-lowest/bin
LOWEST_STAMP := .venv-lowest/.ready
LOWEST_PYTHON ?= 3.11
LOWEST_TESTS := gap_tune tests/contracts tests/test_cli.py tests/test_requirements.py \
	tests/dashboards/test_files.py tests/optim/test_reference.py tests/report/test_images.py \
	tests/panel/test_settings.py tests/report/test_page.py tests/study/test_files.py \
	tests/study/test_study.py tests/tune tests/training/test_in_tune.py

# Two files at a time, each process with a Ray session of its own.
IN_TWO := --numprocesses 2 --dist loadfile

.PHONY: help demo test lowest faults lint format check everything docs dist sbom audit coverage mutants \
	bench dashboard clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt gap_tune/__init__.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]' -c constraints.txt
	touch $@

demo: $(STAMP) ## compare GAP with fixed momenta on handwritten digits, in a few minutes
	$(BIN)/gap-tune demo

test: $(STAMP) ## all tests but the slowest, and docstrings' examples
	$(BIN)/pytest $(IN_TWO)

# No tool of ours raises what is tried there: tests that need more than these are not in the list.
$(LOWEST_STAMP): pyproject.toml constraints.txt $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(LOWEST_PYTHON) .venv-lowest
	$(BIN)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct \
		-e '.[baselines,dashboard,figures,language,lightning,vision]'
	$(BIN)/uv pip install --quiet --python $(LOWEST)/python -c constraints.txt \
		grafana-foundation-sdk hypothesis pytest pytest-timeout pytest-xdist setuptools
	touch $@

lowest: $(LOWEST_STAMP) ## the lowest versions that pyproject.toml declares, in an environment of its own
	$(LOWEST)/gap-tune demo --epochs 4 --progress quiet
	$(LOWEST)/pytest $(IN_TWO) $(LOWEST_TESTS) --ignore tests/tune/monitoring/test_loggers.py \
		--ignore tests/tune/integrations/test_torch_trainer.py
	RAY_TRAIN_V2_ENABLED=1 $(LOWEST)/pytest tests/tune/integrations/test_torch_trainer.py

# The tests that take longest: killed processes, lost nodes, full disks, browsers, examples.
faults: $(STAMP) ## the slow tests: killed processes, lost nodes, browsers, examples, distributions
	$(BIN)/pytest -m slow --timeout 900 $(IN_TWO)

lint: $(STAMP) ## ruff, its formatter, mypy, bandit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --recursive gap_tune --configfile pyproject.toml
	$(BIN)/mypy

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The Grafana dashboard that the package ships, from gap_tune/dashboards/source/panels.py.
dashboard: $(STAMP) ## write the Grafana dashboard that the package ships
	$(BIN)/python -m gap_tune.dashboards.source

# The site, in build/site, to be read and searched without network; a broken link or reference fails.
docs: $(STAMP) ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# What a change needs before it is shown; what takes longer is in the next one.
check: lint test ## lint and test: what every change needs

everything: check lowest faults dist ## check, lowest, faults, dist

# A release's files in dist/, from a checkout without changes, and what tests/release tries with them.
dist: $(STAMP) ## build a release in dist/, check it, install and run it alone
	rm -rf dist
	$(BIN)/python -m build --installer uv
	$(BIN)/twine check --strict dist/*
	GAP_TUNE_DIST=dist $(BIN)/pytest -m slow tests/release

# Names, versions and licences of all that `make` installs, as SPDX 2.3; not committed.
sbom: $(STAMP) ## an SPDX bill of materials of what is installed, in dist/
	mkdir -p dist
	$(BIN)/python -m tests.release.bill dist/gap_tune.spdx.json

# It asks the package index what is known of each version that is installed; one that the index does
# not know is a failure, lest a pass say nothing.
audit: $(STAMP) ## known vulnerabilities of what is installed (asks the package index)
	mkdir -p build
	$(BIN)/uv pip freeze --quiet --python $(BIN)/python --exclude-editable >build/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --desc off --requirement build/installed.txt
	$(BIN)/bandit --quiet --recursive gap_tune --configfile pyproject.toml

# What `make test` runs: the slow tests would add to it. A process that was killed at once leaves an
# empty file. Of a folder alone: make coverage COVERED=tests/rules
COVERED ?= tests gap_tune
coverage: $(STAMP) ## lines and branches that tests run, subprocesses too
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(COVERED) --timeout 900 $(IN_TWO)
	find . -maxdepth 1 -name '.coverage.*' -empty -delete
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Of one part alone, by its modules' names: make mutants MUTATED='gap_tune.rules*'
MUTATED ?=
mutants: $(STAMP) ## faults put into the code one by one: which does no test notice?
	$(BIN)/mutmut run $(MUTATED)
	$(BIN)/mutmut results

bench: $(STAMP) ## the cost of a step and of a study
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.scale
	$(BIN)/python -m tests.benchmarks.import_time
	$(BIN)/python -m tests.benchmarks.reports_apart
	$(BIN)/python -m tests.benchmarks.simulated_study
	$(BIN)/gap-tune plan --measure --constants bench_results/constants.json

clean: ## remove environments, caches and what was built
	rm -rf .venv .venv-lowest .venv-alone .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* build dist mutants gap_tune_results bench_results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
