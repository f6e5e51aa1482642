"""A trial's process is really killed; the trial goes on from its checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
from ray import tune

from tests.tune.conftest import make_run
from tests.tune.functions import Cycle


@pytest.fixture(scope="module")
def grid(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    """A tuned trial and a baseline that are killed once, and that baseline undisturbed."""
    folder = tmp_path_factory.mktemp("killed")
    markers = [folder / "tuned", folder / "baseline"]
    plan: list[dict[str, Any]] = [
        {"kill_marker": str(markers[0]), "kill_at": 4},
        {"kill_marker": str(markers[1]), "kill_at": 5, "momentum": 0.7},
        {"momentum": 0.7},
    ]
    grid = make_run(folder)(plan, max_failures=1)
    assert all(marker.exists() for marker in markers)
    assert not grid.errors
    return grid


@pytest.mark.slow
def test_a_killed_trial_resumes_with_its_momentum_sequence_number_and_statistics(
    grid: tune.ResultGrid,
) -> None:
    (tuned,) = [r for r in grid if r.config["gap"]["mode"] == "scheduler"]
    rows = tuned.metrics_dataframe.to_dict("records")  # type: ignore[union-attr]
    assert [r["restored"] for r in rows] == [False] * 4 + [True] * 4
    assert len({r["pid"] for r in rows}) == 2
    # The checkpoint was taken with the fourth report, before the reply to it had come; the reply
    # was lost with the process, and is sent again.
    assert list(rows[4]["start"]) == [Cycle.momenta[0], 4, 24]
    assert [r["gap/seq"] for r in rows] == list(range(8))
    assert [r["used"] for r in rows] == [Cycle.momenta[i % 4] for i in range(8)]
    assert [r["gap/steps"] for r in rows] == [6 * (i + 1) for i in range(8)]


@pytest.mark.slow
def test_a_killed_baseline_ends_with_the_same_weights(grid: tune.ResultGrid) -> None:
    killed, undisturbed = (r for r in grid if r.config["gap"]["mode"] == "fixed")
    assert {len(r.metrics_dataframe) for r in (killed, undisturbed)} == {8}  # type: ignore[arg-type]
    assert killed.metrics["checksum"] == undisturbed.metrics["checksum"]  # type: ignore[index]
