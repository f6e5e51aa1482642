# Every target sets up what it needs from a bare checkout; a second run does not set up again.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: demo test faults lint format check bench clean
.DELETE_ON_ERROR:

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]' -c constraints.txt
	touch $@

demo: $(STAMP)
	$(BIN)/gap-tune demo

test: $(STAMP)
	$(BIN)/pytest

# The tests that take longest: killed processes, lost nodes, full disks, browsers, examples. Two
# files at a time, each with a Ray session of its own.
faults: $(STAMP)
	$(BIN)/pytest -m slow --timeout 900 --numprocesses 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint faults test

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.scale

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist gap_tune_results bench_results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
