"""Trials' processes are killed at random moments, twenty times in one study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.studies import assert_same_course, tuner

LIVES = 5


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(ray_address: str, tmp_path: Path) -> None:
    killed = [
        {"seed": seed, "deaths": str(tmp_path / f"deaths{seed}{twin}"), "lives": LIVES}
        for seed in (0, 1)
        for twin in ("a", "b")
    ]
    grid = tuner(tmp_path, [*killed, {"seed": 0}, {"seed": 1}]).fit()
    assert len(list(tmp_path.glob("deaths*/*"))) == LIVES * len(killed) == 20
    assert not grid.errors
    undisturbed = {r.config["seed"]: r for r in grid if "deaths" not in r.config}
    momenta = undisturbed[0].metrics_dataframe["gap/momentum"]  # type: ignore[index]
    assert momenta.nunique() > 1, "a momentum that never moves shows nothing"
    for result in grid:
        assert_same_course(result, undisturbed[result.config["seed"]])
