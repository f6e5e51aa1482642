"""What the best of n trials ended with, against all draws of n, taken one by one."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from gap_tune.report.evidence.ended_with import EndedWith, expected_best

Place = tuple[str, int, int]


def best_of_all_draws(results: list[float], drawn: int) -> float:
    return float(np.mean([min(some) for some in combinations(results, drawn)]))


@pytest.mark.parametrize("most", [1, 3, 6])
def test_the_expected_best_of_some_is_the_mean_over_all_draws(most: int) -> None:
    results = [0.5, 0.1, 0.9, 0.3, 0.3, 2.0]
    expected = [best_of_all_draws(results, n) for n in range(1, most + 1)]
    assert expected_best(np.array(results), most) == pytest.approx(expected)


def test_the_expected_best_of_a_thousand_is_no_overflow() -> None:
    results = np.arange(1_000.0)
    found = expected_best(results, 1_000)
    # The least of n of 0 .. N - 1 is (N - n) / (n + 1) in the mean.
    drawn = np.arange(1, 1_001)
    assert found == pytest.approx((1_000 - drawn) / (drawn + 1))


def ended(losses: dict[Place, float], statuses: dict[Place, str] | None = None) -> EndedWith | None:
    """Return the curves of trials by arm, configuration and own seed, numbered as pairs are."""
    of = statuses or {}
    seeds = {place: number for number, place in enumerate(sorted({k[1:] for k in losses}))}
    rows = [
        {
            "arm": arm,
            "seed": seeds[number, own],
            "configuration": number,
            "own_seed": own,
            "status": of.get((arm, number, own), "finished"),
        }
        for arm, number, own in losses
    ]
    finals = pd.Series(
        {(arm, seeds[number, own]): loss for (arm, number, own), loss in losses.items()}
    ).dropna()
    return EndedWith.of(pd.DataFrame(rows), finals, "min")


def every(arms: str, configurations: int, seeds: int) -> dict[Place, float]:
    random = np.random.default_rng(0)
    places = product(arms, range(configurations), range(seeds))
    return {place: float(random.uniform(0.1, 1.0)) for place in places}


def test_the_curves_are_means_over_seeds_of_the_best_of_all_draws() -> None:
    losses = every("ab", 4, 3)
    found = ended(losses)
    assert found is not None
    assert found.curves.keys() == {"a", "b"}
    for arm, curve in found.curves.items():
        own = [[losses[arm, c, seed] for c in range(4)] for seed in range(3)]
        expected = [np.mean([best_of_all_draws(each, n) for each in own]) for n in range(1, 5)]
        assert curve == pytest.approx(expected)


def test_what_is_to_be_high_has_its_highest_as_the_best() -> None:
    losses = every("ab", 3, 2)
    rows = [
        {"arm": arm, "seed": 2 * c + s, "configuration": c, "own_seed": s, "status": "finished"}
        for arm, c, s in losses
    ]
    finals = pd.Series({(arm, 2 * c + s): loss for (arm, c, s), loss in losses.items()})
    found = EndedWith.of(pd.DataFrame(rows), finals, "max")
    assert found is not None
    best = [max(losses["a", c, seed] for c in range(3)) for seed in range(2)]
    assert found.curves["a"][-1] == pytest.approx(np.mean(best))
    assert found.curves["a"][0] == pytest.approx(
        np.mean([losses["a", c, seed] for c in range(3) for seed in range(2)])
    )


def test_a_trial_without_a_result_counts_as_the_worst_of_all_arms() -> None:
    losses = every("ab", 3, 1)
    losses["a", 1, 0] = math.nan
    found = ended(losses, {("a", 1, 0): "failed"})
    assert found is not None
    worst = max(loss for loss in losses.values() if not math.isnan(loss))
    own = [losses["a", 0, 0], worst, losses["a", 2, 0]]
    assert found.curves["a"] == pytest.approx([best_of_all_draws(own, n) for n in (1, 2, 3)])


def test_a_configuration_that_one_arm_has_not_ended_counts_for_none() -> None:
    losses = every("ab", 4, 2)
    # Seed 0 has three configurations with both arms then, seed 1 four: both curves have three.
    found = ended(losses, {("b", 2, 0): "unfinished"})
    assert found is not None
    assert [len(curve) for curve in found.curves.values()] == [3, 3]
    first = [losses["a", c, 0] for c in (0, 1, 3)]
    second = [losses["a", c, 1] for c in range(4)]
    expected = [(best_of_all_draws(first, n) + best_of_all_draws(second, n)) / 2 for n in (1, 2, 3)]
    assert found.curves["a"] == pytest.approx(expected)


def test_a_seed_with_a_single_configuration_is_left_out() -> None:
    losses = every("ab", 2, 2)
    found = ended(losses, {("b", 1, 0): "unfinished"})
    assert found is not None
    assert found.curves["a"][-1] == pytest.approx(min(losses["a", c, 1] for c in (0, 1)))


def test_there_is_no_curve_of_less() -> None:
    assert ended(every("ab", 1, 3)) is None
    assert ended(dict.fromkeys(every("ab", 3, 1), math.nan)) is None


def test_the_table_has_a_row_per_arm_and_number_of_trials() -> None:
    found = EndedWith({"a": np.array([0.5, 0.25]), "b": np.array([0.75])})
    assert found.table("loss").to_dict("list") == {
        "method": ["a", "a", "b"],
        "trials": [1, 2, 1],
        "loss": [0.5, 0.25, 0.75],
    }
