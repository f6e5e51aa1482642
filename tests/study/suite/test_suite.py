from __future__ import annotations

from dataclasses import replace

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.study import parse_arm
from tests.study.suite.jobs import small


def test_jobs_come_seed_by_seed_and_rate_by_rate_so_that_pairs_are_close() -> None:
    arms = ("gap", "yellowfin")
    suite = small(*arms)
    rates = {arm: suite.learning_rates("small", parse_arm(arm)) for arm in arms}
    expected = [
        ("small", arm, rates[arm][rate], seed)
        for seed in (0, 1)
        for rate in range(3)
        for arm in arms
    ]
    assert [job.key for job in suite.jobs()] == expected
    assert [job.config["rate"] for job in suite.jobs()[:4]] == [0, 0, 1, 1]
    # Each arm's recipe is in the middle: YellowFin's learning rate is a factor.
    assert rates["yellowfin"] == [0.1, 1.0, 10.0]
    assert rates["gap"][1] == suite.settings["small"].lr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, but got 0"),
        ({"lr_count": 0}, "lr_count must be an integer of at least 1, but got 0"),
        ({"lr_span": 0.5}, "lr_span must be a number"),
        ({"arms": ()}, "one or more different methods"),
        ({"arms": (parse_arm("gap"),) * 2}, "one or more different methods"),
        ({"arms": (parse_arm("optuna:2"),)}, "one run without a search, but got 'optuna:2'"),
    ],
)
def test_what_is_no_suite_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidValueError, match=complaint):
        replace(small("gap"), **change)  # type: ignore[arg-type]
