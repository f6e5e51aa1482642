"""Search curves against a simulation, and values that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.report.search_curve import expected_best, trials_to_reach

LOSSES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.2, 0.3, 0.5, 2.3]), st.floats(0.1, 3.0)),
    min_size=1,
    max_size=8,
)


def test_expected_losses_are_those_of_a_simulation() -> None:
    random = np.random.default_rng(0)
    validation, test = random.random((2, 12))
    # Runs that learnt nothing are equally bad.
    validation[[3, 7, 8]], test[[3, 7, 8]] = 2.3, 2.4
    # Equal by chance, but not on test data: either may be drawn first.
    validation[4] = validation[5]
    drawn = random.integers(12, size=(200_000, 30))
    for trials in (1, 2, 3, 8, 30):
        # The first of equals, in the order of drawing.
        own = drawn[:, :trials]
        best = np.take_along_axis(own, validation[own].argmin(axis=1)[:, None], axis=1)
        found = test[best]
        error = found.std() / np.sqrt(len(found))
        exact = expected_best(validation, test)[trials - 1]
        assert exact == pytest.approx(found.mean(), abs=4 * error + 1e-12)


def test_one_trial_is_the_mean_and_very_many_are_the_best() -> None:
    curve = expected_best([0.3, 0.1, 0.2], [3.0, 1.0, 5.0], 200)
    assert curve[0] == pytest.approx(3.0)
    assert curve[-1] == pytest.approx(1.0)


def test_several_grids_are_done_at_once() -> None:
    random = np.random.default_rng(1)
    validation, test = random.random((2, 3, 4, 6))
    together = expected_best(validation, test, 5)
    assert together.shape == (3, 4, 5)
    assert together[2, 1] == pytest.approx(expected_best(validation[2, 1], test[2, 1], 5))


@given(LOSSES)
def test_it_is_a_mean_of_test_losses_and_goes_by_the_order_of_validation_alone(cells) -> None:
    validation, test = np.array(cells).T
    curve = expected_best(validation, test, 6)
    assert curve[0] == pytest.approx(test.mean())
    assert (curve >= test.min() - 1e-9).all()
    assert (curve <= test.max() + 1e-9).all()
    assert expected_best(np.log(validation), test, 6) == pytest.approx(curve)


@given(LOSSES)
def test_what_is_chosen_by_gets_better_with_every_trial(cells) -> None:
    validation = np.array(cells)[:, 0]
    assert (np.diff(expected_best(validation, validation, 30)) <= 1e-12).all()


def test_trials_to_reach_lie_on_the_straight_line_between_two() -> None:
    curve = [0.5, 0.3, 0.2, 0.2, 0.1]
    assert trials_to_reach(curve, 0.6) == 1.0
    assert trials_to_reach(curve, 0.5) == 1.0
    assert trials_to_reach(curve, 0.35) == pytest.approx(1.75)
    assert trials_to_reach(curve, 0.2) == pytest.approx(3.0)
    assert trials_to_reach(curve, 0.1) == pytest.approx(5.0)
    assert trials_to_reach(curve, 0.09) == np.inf


def test_curves_and_targets_are_paired() -> None:
    curves = np.array([[0.5, 0.3], [0.4, 0.2], [0.9, 0.8]])
    found = trials_to_reach(curves, np.array([0.4, 0.2, 0.1]))
    assert found == pytest.approx([1.5, 2.0, np.inf])


def test_a_curve_that_goes_up_again_counts_where_it_was_low_first() -> None:
    assert trials_to_reach([0.5, 0.2, 0.4, 0.1], 0.2) == pytest.approx(2.0)


def test_rounding_keeps_no_curve_from_reaching_its_own_value() -> None:
    assert trials_to_reach([1.0 + 1e-15, 1.0 + 1e-15], 1.0) == 1.0
