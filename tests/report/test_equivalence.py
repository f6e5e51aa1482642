"""Two one-sided tests against statsmodels, and what they must not be asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from gap_tune.report.evidence.equivalence import Equivalence

BASE = pd.Series([0.30, 0.40, 0.35, 0.32, 0.38])


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.01, 1.02, 1.05])
@pytest.mark.parametrize("margin", [0.01, 0.03, 0.1])
def test_it_is_the_test_of_statsmodels(factor: float, margin: float) -> None:
    noise = np.random.default_rng(0).normal(1.0, 0.01, 5)
    found = Equivalence.between(BASE * noise * factor, BASE, "min", margin)
    oracle = DescrStatsW(np.log(noise * factor))
    bound = np.log(1 + margin)
    assert found is not None
    assert found.p_value == pytest.approx(oracle.ttost_mean(-bound, bound)[0])
    assert np.log(found.interval) == pytest.approx(oracle.tconfint_mean(alpha=0.1))
    assert found.ratio == pytest.approx(np.exp(oracle.mean))
    # The two tests succeed where the interval lies within the margin.
    low, high = found.interval
    assert found.shown == (1 / (1 + margin) < low and high < 1 + margin)


def test_only_common_seeds_are_compared() -> None:
    arm = pd.Series({0: 0.30, 1: 0.405, 7: 9.0})
    both = Equivalence.between(arm, BASE, "min", 0.03)
    assert both == Equivalence.between(arm[[0, 1]], BASE[[0, 1]], "min", 0.03)


def test_of_accuracies_the_errors_are_compared() -> None:
    accuracy = pd.Series([0.990, 0.991, 0.989])
    arm = accuracy - [0.010, 0.011, 0.010]
    found = Equivalence.between(arm, accuracy, "max", 0.03, is_fraction=True)
    assert found is not None
    # 98 % is within 3 % of 99 %, but errs twice as often.
    assert found.ratio == pytest.approx(np.exp(np.log((1 - arm) / (1 - accuracy)).mean()))
    assert found.ratio > 2.0
    assert not found.shown


def test_of_what_is_to_be_high_less_is_worse() -> None:
    found = Equivalence.between(BASE * [0.9, 0.91, 0.9, 0.9, 0.9], BASE, "max", 0.03)
    assert found is not None
    assert found.ratio > 1.09


@pytest.mark.parametrize(
    ("arm", "base"),
    [
        ([0.3], [0.3]),
        ([0.3, 0.4], [0.3, 0.4]),
        ([0.0, 0.4], [0.3, 0.4]),
        ([-0.3, 0.4], [0.3, 0.4]),
        ([], []),
    ],
)
def test_without_ratios_that_vary_there_is_no_test(arm: list[float], base: list[float]) -> None:
    assert Equivalence.between(pd.Series(arm), pd.Series(base), "min", 0.03) is None


def test_perfect_accuracies_have_no_ratio() -> None:
    perfect = pd.Series([1.0, 0.99])
    assert Equivalence.between(perfect, perfect - 0.01, "max", 0.03, is_fraction=True) is None
