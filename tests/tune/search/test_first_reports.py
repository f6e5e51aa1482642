"""What trials reported first, added up for a new trial nearby."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gap_tune.tune.search.closeness import Point, closeness
from gap_tune.tune.search.first_reports import KEPT, FirstReports
from tests.tune.searching import leaning, report

SUMS = ("alignment", "autocorrelation")
# Shorter lists of candidates cannot be added to longer ones.
CANDIDATES = ((0.8, 0.9), (0.8, 0.9, 0.95))
A_TRIAL = st.tuples(st.floats(0.0, 1.0), st.floats(0.1, 5.0), st.sampled_from(CANDIDATES))


def taken(trials: list[tuple[float, float, tuple[float, ...]]]) -> FirstReports:
    reports = FirstReports()
    for number, (lr, weight, candidates) in enumerate(trials):
        reports.expect(str(number), {"lr": lr})
        reports.take(str(number), report(leaning(0.9, weight=weight, candidates=candidates)))
    return reports


def added_one_by_one(
    trials: list[tuple[float, float, tuple[float, ...]]], point: Point
) -> dict[tuple[float, ...], tuple[float, int, dict[str, np.ndarray]]]:
    """Return weight, count and sums by candidates, as the docstrings define them."""
    found: dict[tuple[float, ...], tuple[float, int, dict[str, np.ndarray]]] = {}
    for lr, weight, candidates in trials[-KEPT:]:
        share, s = closeness(point, {"lr": lr}), leaning(0.9, weight=weight, candidates=candidates)
        before, count, sums = found.get(candidates, (0.0, 0, {}))
        power = s.power / s.weight
        new = {name: share * np.array(getattr(s, name)) / power for name in SUMS}
        total = {name: sums.get(name, 0.0) + new[name] for name in SUMS}
        found[candidates] = before + share * weight, count + 1, total
    return found


@given(
    trials=st.lists(A_TRIAL, min_size=1, max_size=12),
    times=st.sampled_from([1, 30, 60]),
    lr=st.floats(0.0, 1.0),
)
@settings(max_examples=40)
def test_the_heaviest_kind_of_the_latest_reports_is_added_up(
    trials: list[tuple[float, float, tuple[float, ...]]], times: int, lr: float
) -> None:
    trials = trials * times
    by_beta2, weight, count = taken(trials).near({"lr": lr})
    statistics = by_beta2[None]
    expected = added_one_by_one(trials, {"lr": lr})
    heaviest = max(each[0] for each in expected.values())
    assert weight == pytest.approx(heaviest)
    # Of two that weigh the same either may be taken.
    of_its_kind, its_count, sums = expected[statistics.candidates]
    assert of_its_kind == pytest.approx(heaviest)
    assert count == its_count
    for name in SUMS:
        assert getattr(statistics, name) == pytest.approx(sums[name])


@pytest.mark.parametrize("count", [3, KEPT + 40])
def test_a_copy_made_from_the_state_adds_up_to_the_last_digit_alike(count: int) -> None:
    chance = np.random.default_rng(0)
    trials = [(chance.random(), 5 * chance.random(), CANDIDATES[i % 2]) for i in range(count)]
    reports, resumed = taken(trials), FirstReports()
    resumed.load_state(copy.deepcopy(reports.state()))
    for point in ({"lr": 0.2}, {"lr": 0.9}):
        assert resumed.near(point) == reports.near(point)
    assert resumed.state() == reports.state()


def test_bug_reports_of_no_weight_must_not_stop_later_ones_from_being_kept() -> None:
    # Nothing real weighs nothing after five steps; what a trial reports may be anything.
    weightless = replace(leaning(0.9, candidates=CANDIDATES[0]), weight=0.0)
    usual = leaning(0.9, candidates=CANDIDATES[1])
    reports = FirstReports()
    for number in range(KEPT + 10):
        reports.expect(str(number), {})
        reports.take(str(number), report(weightless if number < 2 else usual))
    assert reports.near({})[2] == KEPT


def test_bug_sums_of_other_lengths_under_one_beta2_must_not_disturb_those_kept() -> None:
    reports = FirstReports()
    alike = leaning(0.9, whitening=2.0)
    shorter = replace(alike, autocorrelation=alike.autocorrelation[:1])
    for number, second in enumerate((alike, shorter, alike)):
        by_beta2 = {"0.9": alike.to_dict(), "0.99": second.to_dict()}
        reports.expect(str(number), {}, 0.9)
        text = {"gap/statistics_by_beta2": json.dumps(by_beta2)}
        reports.take(str(number), report(alike, **text))
    resumed = FirstReports()
    resumed.load_state(copy.deepcopy(reports.state()))
    assert reports.near({})[2] == resumed.near({})[2] == 2


def test_a_kind_whose_last_report_has_left_is_forgotten() -> None:
    trials = [(0.5, 5.0, CANDIDATES[0])] + [(0.5, 0.1, CANDIDATES[1])] * KEPT
    (statistics,) = taken(trials).near({"lr": 0.5})[0].values()
    assert statistics.candidates == CANDIDATES[1]
