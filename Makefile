# Every target sets up what it needs from a bare checkout; a second run does not set up again.
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

.PHONY: demo test lowest faults lint format check bench dashboard clean
.DELETE_ON_ERROR:

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]' -c constraints.txt
	touch $@

demo: $(STAMP)
	$(BIN)/gap-tune demo

test: $(STAMP)
	$(BIN)/pytest $(IN_TWO)

# No tool of ours raises what is tried there: tests that need more than these are not in the list.
$(LOWEST_STAMP): pyproject.toml constraints.txt $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(LOWEST_PYTHON) .venv-lowest
	$(BIN)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct \
		-e '.[baselines,dashboard,figures,language,lightning,vision]'
	$(BIN)/uv pip install --quiet --python $(LOWEST)/python -c constraints.txt \
		grafana-foundation-sdk hypothesis pytest pytest-timeout pytest-xdist setuptools
	touch $@

lowest: $(LOWEST_STAMP)
	$(LOWEST)/gap-tune demo --epochs 4 --progress quiet
	$(LOWEST)/pytest $(IN_TWO) $(LOWEST_TESTS) --ignore tests/tune/monitoring/test_loggers.py \
		--ignore tests/tune/integrations/test_torch_trainer.py
	RAY_TRAIN_V2_ENABLED=1 $(LOWEST)/pytest tests/tune/integrations/test_torch_trainer.py

# The tests that take longest: killed processes, lost nodes, full disks, browsers, examples.
faults: $(STAMP)
	$(BIN)/pytest -m slow --timeout 900 $(IN_TWO)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The Grafana dashboard that the package ships, from gap_tune/dashboards/source/panels.py.
dashboard: $(STAMP)
	$(BIN)/python -m gap_tune.dashboards.source

check: lint lowest faults test

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.scale
	$(BIN)/python -m tests.benchmarks.import_time
	$(BIN)/python -m tests.benchmarks.reports_apart

clean:
	rm -rf .venv .venv-lowest .mypy_cache .pytest_cache .ruff_cache build dist gap_tune_results bench_results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
