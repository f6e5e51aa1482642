"""Trials' processes are killed at random moments, twenty times in one study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.studies import Course, assert_same_course, course, tuner

LIVES = 5


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(
    undisturbed: dict[int, Course], tmp_path: Path
) -> None:
    killed = [
        {"seed": seed, "deaths": str(tmp_path / f"deaths{seed}{twin}"), "lives": LIVES}
        for seed in (0, 1)
        for twin in ("a", "b")
    ]
    grid = tuner(tmp_path, killed).fit()
    assert len(list(tmp_path.glob("deaths*/*"))) == LIVES * len(killed) == 20
    assert not grid.errors
    momenta = {momentum for _, _, momentum, _ in undisturbed[0]}
    assert len(momenta) > 1, "a momentum that never moves shows nothing"
    for result in grid:
        assert_same_course(course(result), undisturbed[result.config["seed"]])
