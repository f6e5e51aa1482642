"""Curves against closed forms and slow loops, on studies made up by hand."""

from __future__ import annotations

from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.simulation.answers.curves import Curves
from gap_tune.simulation.answers.outcome import Course, Outcome
from gap_tune.simulation.answers.reached import TIME, TRIALS
from tests.simulation.answers.made_up import outcome, studies


def test_expected_best_of_uniform_losses_is_its_closed_form() -> None:
    # The least of n uniform numbers in [0, 1] is expected at 1 / (n + 1).
    random = np.random.default_rng(0)
    repeats = [outcome((1.0 + random.uniform(size=8)).tolist()) for _ in range(4000)]
    curve = Curves(studies({"a": [repeats]})).on("setting 0", "a", TRIALS)
    exact = 1.0 + 1.0 / np.arange(2, 10)
    assert curve.expected == pytest.approx(exact, abs=0.012)
    assert (curve.low < exact + 0.01).all()
    assert (curve.high > exact - 0.01).all()


def test_expected_best_of_a_finite_set_is_its_closed_form() -> None:
    # Every order of six losses, each equally likely: the best of n is expected as by counting.
    losses = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    random = np.random.default_rng(1)
    repeats = [outcome(random.permutation(losses).tolist()) for _ in range(4000)]
    curve = Curves(studies({"a": [repeats]})).on("setting 0", "a", TRIALS)
    for n in range(1, 7):
        chance = [comb(6 - rank - 1, n - 1) / comb(6, n) for rank in range(6)]
        assert curve.expected[n - 1] == pytest.approx(np.dot(chance, losses), rel=0.05)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_the_best_so_far_is_that_of_a_loop_over_all_reports(
    trials: list[list[tuple[int, int]]],
) -> None:
    courses = []
    for reports in trials:
        times = np.cumsum([step for step, _ in reports]).astype(float)
        losses = np.array([loss for _, loss in reports], float)
        courses.append(Course(times, losses, 10.0 * losses))
    found = Outcome.of(courses, seconds=200.0)
    for moment in range(0, 160, 3):
        latest = [c.validation[c.times <= moment][-1] for c in courses if c.times[0] <= moment]
        value = found.at(np.array([float(moment)]))[0]
        if latest:
            assert value == 10.0 * min(latest)
        else:
            assert np.isnan(value)


def test_the_trial_kept_is_chosen_by_validation_and_shown_on_test_data() -> None:
    courses = [
        Course(np.array([1.0]), np.array([0.3]), np.array([0.9])),
        Course(np.array([2.0]), np.array([0.2]), np.array([5.0])),
        Course(np.array([3.0]), np.array([0.1]), np.array([7.0]), failed=True),
        Course(np.array([4.0]), np.array([np.nan]), np.array([np.nan])),
    ]
    assert Outcome.of(courses, 4.0).after_trials.tolist() == [0.9, 5.0, 5.0, 5.0]


def test_a_trial_that_failed_counts_as_the_ceiling_until_another_ends() -> None:
    repeats = [outcome([float("nan"), 2.0]), outcome([4.0, 2.0])]
    curves = Curves(studies({"a": [repeats]}, ceiling=10.0))
    assert curves.on("setting 0", "a", TRIALS).expected.tolist() == [7.0, 2.0]
    assert curves.on("setting 0", "a", TIME).expected[-1] == 2.0


def test_a_curve_is_the_geometric_mean_of_settings_over_the_reference() -> None:
    own = [[outcome([1.2])] * 2, [outcome([0.9])] * 2]
    curve = Curves(studies({"a": own}, reference=1.0)).curve("a", TRIALS)
    assert curve.ratios.tolist() == [pytest.approx(exp((log(1.2) + log(0.9)) / 2))]
    # One of two settings may be drawn twice.
    assert (curve.low[0], curve.high[0]) == (pytest.approx(0.9), pytest.approx(1.2))


def test_a_method_twice_as_fast_takes_half_the_time_and_as_many_trials() -> None:
    losses = [3.0, 2.5, 2.0, 1.5, 1.2]
    slow = [[outcome(losses, seconds=2.0)] * 2 for _ in range(3)]
    fast = [[outcome(losses, seconds=1.0)] * 2 for _ in range(3)]
    curves = Curves(studies({"fast": fast, "slow": slow}))
    assert curves.speed("fast", "slow", TIME).ratio == pytest.approx(0.5, rel=0.05)
    assert curves.speed("fast", "slow", TIME).kind == "sooner"
    assert curves.speed("slow", "fast", TIME).kind == "later"
    assert curves.speed("fast", "slow", TRIALS).kind == "level"
    assert curves.to_match("fast", "slow", TRIALS, 5).value == pytest.approx(5.0)
    assert curves.standing("fast", "slow").ratio == pytest.approx(1.0)


def test_what_is_never_reached_is_said_to_be_more_than_there_was() -> None:
    curves = Curves(studies({"a": [[outcome([1.3])] * 2] * 2, "b": [[outcome([1.1])] * 2] * 2}))
    found = curves.to_match("a", "b", TRIALS, 1)
    assert not found.is_reached
    assert found.text == "more than 1 trials"
    assert curves.speed("a", "b", TRIALS).kind == "later"


def test_repeats_are_no_evidence_beyond_their_settings() -> None:
    # A thousand repeats of one setting say nothing about another.
    one = Curves(studies({"a": [[outcome([1.0])] * 1000], "b": [[outcome([2.0])] * 1000]}))
    assert one.standing("a", "b").kind == "undecided"

    # And the interval over three settings does not shrink with their repeats.
    def ends(repeats: int) -> tuple[float, float]:
        own = [[outcome([loss])] * repeats for loss in (0.9, 1.0, 1.2)]
        other = [[outcome([1.0])] * repeats] * 3
        place = Curves(studies({"a": own, "b": other})).standing("a", "b")
        return place.low, place.high

    assert ends(2) == pytest.approx(ends(400))
