"""The model of a training that changes on the way, against real ones that did."""

from __future__ import annotations

from pathlib import Path

import pytest

from gap_tune.simulation.recorded import RecordedRuns
from gap_tune.simulation.recorded.files import Tables
from tests.simulation.recorded.switching import errors_of_changes, unscaled

DATA = Path(__file__).with_name("data")
RUNS, TABLES = RecordedRuns.load(DATA), Tables(DATA)


@pytest.mark.parametrize("name", list(RUNS))
def test_runs_that_were_changed_once_are_predicted_best_by_the_mean_of_where_they_were(
    name: str,
) -> None:
    errors = errors_of_changes(RUNS[name])
    assert errors["model"] < 0.75 * min(errors[other] for other in ("before", "after", "steps"))


@pytest.mark.parametrize("name", list(RUNS))
def test_runs_of_a_changing_momentum_are_ranked_from_those_of_fixed_ones(name: str) -> None:
    found = unscaled(RUNS[name], TABLES.read(name))
    assert found["rank"] > 0.7
    assert found["error"] < 0.8 * found["spread"]
