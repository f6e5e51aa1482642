"""How much early reports tell: laws on made-up courses, and the page's figures."""

from __future__ import annotations

import numpy as np
import pytest

from gap_tune.simulation.recorded import RecordedRuns
from gap_tune.simulation.recorded.files import Tables
from gap_tune.simulation.recorded.runs import SHIPPED
from tests.docs.pages import DOCS
from tests.simulation.recorded.foresight import GROUPS, courses, foresight, line, regret

PAGE = DOCS / "explanation/simulated.md"


def test_of_courses_that_never_cross_the_first_report_tells_all() -> None:
    level = np.geomspace(0.01, 1.0, 20)[:, None]
    losses = level * np.geomspace(10.0, 1.0, 5)
    assert foresight(losses, 0) == pytest.approx(1.0)
    assert regret(losses, 0, np.random.default_rng(0)) == 0.0


def test_of_courses_that_all_cross_it_tells_the_opposite() -> None:
    level = np.geomspace(0.01, 1.0, 20)[:, None]
    losses = np.hstack([1.0 / level, level])
    assert foresight(losses, 0) == pytest.approx(-1.0)
    # The three of nine that are kept are those that end worst: six of twenty places, on average
    # more, behind the best, of which each is a factor of 100 ** (1 / 19).
    assert regret(losses, 0, np.random.default_rng(0)) > 6 * np.log(100) / 19
    assert regret(losses, 1, np.random.default_rng(0)) == 0.0


def test_what_diverged_is_the_worst_and_nothing_is_lost_where_all_did() -> None:
    losses = np.full((12, 2), np.inf)
    assert regret(losses, 0, np.random.default_rng(0)) == 0.0
    losses[:2] = 0.5
    assert regret(losses, 0, np.random.default_rng(0)) == 0.0


def test_a_group_has_the_runs_of_its_arms_alone() -> None:
    recordings = Tables(SHIPPED).read(next(iter(RecordedRuns.load(SHIPPED))))
    _, rates, seeds, moments = recordings.shape
    fixed = sum(arm.startswith("fixed:") for arm in recordings.arms)
    assert courses(recordings, "fixed").shape == (fixed * rates * seeds, moments)
    assert courses(recordings, "gap").shape == (rates * seeds, moments)


def test_the_page_says_what_the_shipped_runs_do() -> None:
    every = [Tables(SHIPPED).read(name) for name in RecordedRuns.load(SHIPPED)]
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    for group in GROUPS:
        (row,) = (row for row in rows if row.startswith(f"| `{group}`") and "%)" in row)
        figures = line(every, group).replace(group, "", 1).replace(" (", "_(").replace(" %", "_%")
        wanted = [each.replace("_", " ") for each in figures.split()]
        assert [cell.strip() for cell in row.split("|")[2:-1]] == wanted
