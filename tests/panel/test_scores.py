"""Scores of made-up runs against scipy and plain pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gap_tune.errors import StateError
from gap_tune.panel.measures.standing import CLIP, Standing
from gap_tune.panel.scores import Scores, score
from gap_tune.panel.summary import arms_table, best_single, standing
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


def test_per_learning_rate_the_rival_is_the_best_at_each_of_them(scores: Scores) -> None:
    for setting in SETTINGS:
        validation, test = {}, {}
        for arm in ARMS:
            validation[arm], test[arm] = by_hand(setting, arm)
        rivals = [
            min(("fixed:0.5", "fixed:0.9"), key=lambda arm: validation[arm][rate].mean())
            for rate in range(3)
        ]
        other = pd.DataFrame({rate: test[arm][rate] for rate, arm in enumerate(rivals)})
        cells = scores.cells[scores.cells["setting"] == setting].set_index("arm")
        assert set(cells["per_rate_rival"]) == {", ".join(rivals)}
        for arm in ARMS:
            cell = cells.loc[arm]
            difference = (test[arm] - other).mean(axis=1)
            ratio = stats.gmean((test[arm] / other).to_numpy().ravel())
            assert cell["per_rate_ratio"] == pytest.approx(ratio)
            assert cell["per_rate_loss"] == pytest.approx(test[arm].mean().mean())
            assert cell["per_rate_regret"] == pytest.approx(difference.mean())
            if set(rivals) == {arm}:
                assert cell["per_rate_outcome"] == "rival"
                continue
            test_of_scipy = stats.ttest_1samp(difference, 0.0)
            assert cell["per_rate_p"] == pytest.approx(test_of_scipy.pvalue)


def test_rivals_may_differ_from_rate_to_rate_and_arms_are_paired_by_its_place() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        best = {"fixed:0.5": (0.1, 0.2, 0.8), "fixed:0.9": (0.4, 0.2, 0.2)}
        value = best.get(arm, (0.2, 0.2, 0.1))[rate]
        return value, value

    made = rows(("a",), ("gap", "fixed:0.5", "fixed:0.9"), loss)
    # Another family has learning rates of its own.
    made = [row | {"lr": 7 * row["lr"]} if row["arm"] == "gap" else row for row in made]
    cell = score(made, note("a")).cells.set_index("arm").loc["gap"]
    assert cell["per_rate_rival"] == "fixed:0.5, fixed:0.5, fixed:0.9"
    assert cell["per_rate_ratio"] == pytest.approx(stats.gmean([2.0, 1.0, 0.5]))
    assert cell["lr"] == pytest.approx(7.0)


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


@pytest.mark.parametrize("measure", ["tuned", "across", "per_rate"])
def test_a_standing_is_a_bootstrap_over_settings_and_seeds(scores: Scores, measure: str) -> None:
    ratios = [_ratio(scores, setting, "switch", measure) for setting in SETTINGS]
    found = standing(scores, "switch", measure)
    clipped = np.log(ratios).clip(-CLIP, CLIP)
    assert found.ratio == pytest.approx(np.exp(clipped.mean()))
    assert found.median == pytest.approx(np.median(ratios))
    assert found.worst == pytest.approx(max(ratios))
    chance = np.random.default_rng(1)
    logs = scores.compared[measure].logs
    assert logs is not None
    own = logs[:, ARMS.index("switch")]
    assert np.exp(own.mean(axis=1)) == pytest.approx(ratios)
    drawn = [
        np.mean([own[place][chance.integers(4, size=4)].mean().clip(-CLIP, CLIP) for place in draw])
        for draw in chance.integers(3, size=(3000, 3))
    ]
    ends = np.exp(np.quantile(drawn, [0.025, 0.975]))
    assert (found.low, found.high) == pytest.approx(ends, rel=0.01)
    inner = np.exp(np.quantile(drawn, [0.05, 0.95]))
    assert found.equivalence == pytest.approx(inner, rel=0.01)


def test_one_setting_cannot_carry_a_mean() -> None:
    logs = np.zeros((10, 4))
    logs[0] = 7.0
    found = Standing.of(logs)
    assert found.ratio == pytest.approx(np.exp(CLIP / 10))
    assert found.median == 1.0
    assert found.worst == pytest.approx(np.exp(7.0))


def test_an_arm_is_compared_with_the_best_single_momentum(scores: Scores) -> None:
    for measure in ("tuned", "across", "per_rate"):
        assert best_single(scores, measure) == "fixed:0.5"
        other = standing(scores, "gap", measure, "fixed:0.5")
        ratios = [
            _ratio(scores, setting, "gap", measure) / _ratio(scores, setting, "fixed:0.5", measure)
            for setting in SETTINGS
        ]
        clipped = np.log(ratios).clip(-CLIP, CLIP)
        assert other.ratio == pytest.approx(np.exp(clipped.mean()))


@pytest.mark.parametrize(
    ("level", "spread", "kind", "said"),
    [
        (-0.05, 0.002, "ahead", "ahead"),
        (0.0, 0.002, "as good", "as good within 3 %"),
        (0.01, 0.002, "behind", "behind, though within 3 %"),
        (0.0, 0.2, "level", "level"),
        (0.2, 0.002, "behind", "behind"),
    ],
)
def test_a_standing_says_on_which_side_it_is_and_whether_that_matters(
    level: float, spread: float, kind: str, said: str
) -> None:
    noise = np.random.default_rng(2).normal(0.0, spread, (12, 4))
    found = Standing.of(level + noise - noise.mean(), 0.03)
    assert (found.kind, found.said) == (kind, said)


def _ratio(scores: Scores, setting: str, arm: str, measure: str) -> float:
    cells = scores.cells.set_index(["setting", "arm"])
    return float(cells.loc[(setting, arm), f"{measure}_ratio"])


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
    ("tuned", "at_bad_rates", "noise", "kind", "lead"),
    [
        (0.5, 0.5, 0.02, "gain", "Ahead"),
        (1.5, 1.5, 0.02, "loss", "Behind"),
        (1.0, 1.0, 0.005, "as good", "As good"),
        (1.0, 1.0, 0.3, "no gain", "No gain shown"),
        (0.5, 9.0, 0.02, "undecided", "Mixed"),
    ],
)
def test_the_verdict_says_which_side(
    tuned: float, at_bad_rates: float, noise: float, kind: str, lead: str
) -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        chance = np.random.default_rng((SETTINGS.index(setting), ARMS.index(arm), rate, seed))
        value = (0.1 if rate == 1 else 0.2) * np.exp(noise * chance.standard_normal())
        if arm == "gap":
            value *= tuned if rate == 1 else at_bad_rates
        return value, value

    answer = verdict(score(rows(SETTINGS, ARMS, loss), note(*SETTINGS)))
    assert answer.kind == kind
    assert answer.headline.startswith(f"{lead}: ")
    # Two fixed momenta, 36 runs each, and gap's as many.
    assert answer.headline.endswith("at half the steps of their sweep.")


def test_one_setting_decides_nothing() -> None:
    one = verdict(score(rows(("a",), ARMS, random_loss), note("a")))
    assert one.kind == "undecided"
    assert np.isnan(Standing.of(np.array([[0.1, 0.2]])).low)


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
