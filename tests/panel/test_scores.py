"""Scores of made-up runs against scipy and plain pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gap_tune.errors import StateError
from gap_tune.panel.scores import Scores, score
from gap_tune.panel.summary import Standing, arms_table, best_single, standing
from gap_tune.panel.verdict import verdict
from tests.panel.made_up import INITIAL, note, rows

SETTINGS = ("a", "b", "c")
ARMS = ("gap", "switch", "fixed:0.5", "fixed:0.9")


def random_loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float | None, float | None]:
    place = (SETTINGS.index(setting), ARMS.index(arm), rate, seed)
    chance = np.random.default_rng(place)
    if arm == "switch" and rate == 2:
        return None, None
    level = 0.3 + 0.1 * place[1] + 0.2 * abs(rate - 1)
    return level + 0.02 * chance.random(), level + 0.02 * chance.random()


@pytest.fixture(scope="module")
def scores() -> Scores:
    return score(rows(SETTINGS, ARMS, random_loss), note(*SETTINGS))


def by_hand(setting: str, arm: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return validation and test losses, seeds by rates, with the penalty put in."""
    tables = [
        [
            [
                INITIAL if loss[split] is None else loss[split]
                for loss in (random_loss(setting, arm, rate, seed) for rate in range(3))
            ]
            for seed in range(4)
        ]
        for split in (0, 1)
    ]
    validation, test = map(pd.DataFrame, tables)
    return validation, test


@pytest.mark.parametrize("measure", ["tuned", "across"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_regret_and_test_are_those_of_scipy(scores: Scores, setting: str, measure: str) -> None:
    final = {}
    judged = {}
    for arm in ARMS:
        validation, test = by_hand(setting, arm)
        best = validation.mean().idxmin()
        final[arm] = test[best] if measure == "tuned" else test.mean(axis=1)
        judged[arm] = validation[best].mean() if measure == "tuned" else validation.mean().mean()
    rival = min(("fixed:0.5", "fixed:0.9"), key=judged.__getitem__)
    cells = scores.cells[scores.cells["setting"] == setting].set_index("arm")
    assert set(cells[f"{measure}_rival"]) == {rival}
    for arm in ARMS:
        cell = cells.loc[arm]
        difference = final[arm] - final[rival]
        assert cell[f"{measure}_loss"] == pytest.approx(final[arm].mean())
        assert cell[f"{measure}_regret"] == pytest.approx(difference.mean())
        ratio = stats.gmean(final[arm] / final[rival])
        assert cell[f"{measure}_ratio"] == pytest.approx(ratio)
        if arm == rival:
            assert cell[f"{measure}_outcome"] == "rival"
            continue
        test_of_scipy = stats.ttest_rel(final[arm], final[rival])
        assert cell[f"{measure}_regret_se"] == pytest.approx(difference.std() / 2)
        assert cell[f"{measure}_p"] == pytest.approx(test_of_scipy.pvalue)
        expected = "tie"
        if test_of_scipy.pvalue < 0.05:
            expected = "win" if test_of_scipy.statistic < 0 else "loss"
        assert cell[f"{measure}_outcome"] == expected


def test_the_made_up_runs_hold_wins_and_losses(scores: Scores) -> None:
    outcomes = scores.cells.groupby("arm")["across_outcome"].agg(set)
    assert outcomes["gap"] == {"win"}
    assert outcomes["switch"] == {"loss"}


def test_the_learning_rate_is_chosen_by_validation_and_not_by_test() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        return (0.1, 0.9) if rate == 2 else (0.5, 0.2)

    cells = score(rows(("a",), ARMS, loss), note("a")).cells
    assert set(cells["lr"]) == {1.0}
    assert cells["at_edge"].all()
    assert set(cells["tuned_loss"].round(9)) == {0.9}


def test_runs_that_learn_nothing_count_as_the_untrained_model() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float | None, float | None]:
        return [(None, None), (1e6, 1e6), (0.5, 0.5)][rate]

    scores = score(rows(("a",), ARMS, loss), note("a"))
    assert scores.cells["across_loss"].to_numpy() == pytest.approx((2 * INITIAL + 0.5) / 3)
    assert set(scores.cells["diverged"]) == {4}


def test_equal_arms_tie(scores: Scores) -> None:
    cells = score(rows(("a",), ARMS, lambda *place: (0.5, 0.5 + place[3])), note("a")).cells
    assert set(cells["tuned_outcome"]) == {"tie", "rival"}
    assert set(cells["tuned_ratio"].round(9)) == {1.0}


def test_a_standing_is_students_t_over_settings(scores: Scores) -> None:
    logs = [np.log(_ratio(scores, setting, "gap")) for setting in SETTINGS]
    expected = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    found = standing(scores, "gap", "tuned")
    assert found.ratio == pytest.approx(stats.gmean(np.exp(logs)))
    assert (found.low, found.high) == pytest.approx((np.exp(expected.low), np.exp(expected.high)))
    single = best_single(scores, "tuned")
    assert single == "fixed:0.5"
    assert standing(scores, "gap", "tuned", single).ratio == pytest.approx(found.ratio)


def _ratio(scores: Scores, setting: str, arm: str) -> float:
    cells = scores.cells.set_index(["setting", "arm"])
    return float(cells.loc[(setting, arm), "tuned_ratio"])


def test_without_a_fixed_arm_no_overhead_is_made_up() -> None:
    table = arms_table(score(rows(("a",), ("gap", "switch"), random_loss), note("a")))
    assert table[["overhead_s", "overhead_ms", "slowdown"]].isna().all(axis=None)


def test_arms_are_summed_up(scores: Scores) -> None:
    table = arms_table(scores).set_index("arm")
    assert list(table.index) == list(ARMS)
    assert table.loc["gap", "tuned_wins"] == 3
    assert table.loc["fixed:0.5", "tuned_ties"] == 3
    assert table.loc["switch", "diverged"] == 12
    assert set(table["steps"]) == {3 * 3 * 4 * 100}
    # Made-up steps take 2 ms, and 3 ms where something decides.
    assert table.loc["gap", "overhead_ms"] == pytest.approx(1.0)
    assert table.loc["gap", "overhead_s"] == pytest.approx(3 * 3 * 4 * 100 * 1e-3)
    assert table.loc["fixed:0.9", "slowdown"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("tuned", "at_bad_rates", "kind", "lead"),
    [
        (0.5, 0.5, "gain", "Ahead"),
        (1.5, 1.5, "loss", "Behind"),
        (1.0, 1.0, "no gain", "No gain shown"),
        (0.5, 9.0, "undecided", "Mixed"),
    ],
)
def test_the_verdict_says_which_side(
    tuned: float, at_bad_rates: float, kind: str, lead: str
) -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        chance = np.random.default_rng((SETTINGS.index(setting), ARMS.index(arm), rate, seed))
        value = (0.1 if rate == 1 else 0.2) * (1 + 0.02 * chance.standard_normal())
        if arm == "gap":
            value *= tuned if rate == 1 else at_bad_rates
        return value, value

    answer = verdict(score(rows(SETTINGS, ARMS, loss), note(*SETTINGS)))
    assert answer.kind == kind
    assert answer.headline.startswith(f"{lead}: ")


def test_one_setting_decides_nothing() -> None:
    one = verdict(score(rows(("a",), ARMS, random_loss), note("a")))
    assert one.kind == "undecided"
    assert np.isnan(Standing.of(pd.Series([0.1])).low)


def test_without_a_fixed_arm_there_is_nothing_to_compare() -> None:
    scores = score(rows(SETTINGS, ("gap",), random_loss), note(*SETTINGS))
    assert verdict(scores).kind == "undecided"
    assert list(arms_table(scores)["arm"]) == ["gap"]


def test_missing_runs_are_refused() -> None:
    made = rows(SETTINGS, ARMS, random_loss)
    with pytest.raises(StateError, match="the same runs of every arm"):
        score(made[1:], note(*SETTINGS))
    with pytest.raises(StateError, match="finished runs"):
        score([], note())
