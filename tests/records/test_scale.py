"""Phases of a trial's scale."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.records.scale import scale_phases
from gap_tune.tune import keys


def rows(scales: list[float], agreement: list[float] | None = None) -> pd.DataFrame:
    told = {} if agreement is None else {keys.AGREEMENT: agreement}
    return pd.DataFrame({keys.STEPS: np.arange(len(scales)) * 10, keys.SCALE: scales, **told})


def test_a_scale_that_grows_and_shrinks_is_two_phases() -> None:
    scales = [0.2, 0.5, 1.0, 0.95, 2.0, 4.0, 3.5, 2.0, 1.0]
    first, second = scale_phases(rows(scales, [0.9] * 6 + [-0.8] * 3))
    assert (first.first_step, first.last_step, first.start, first.end) == (0, 50, 0.2, 4.0)
    assert (second.first_step, second.last_step, second.end) == (50, 80, 1.0)
    assert first.sentence.endswith("so it grew from 0.2 to 4.")
    assert "updates were opposed" in second.sentence


def test_small_movements_are_one_phase_that_stayed() -> None:
    (phase,) = scale_phases(rows([1.0, 1.1, 1.0, 1.1, 1.05]))
    assert math.isnan(phase.agreement)
    assert phase.sentence == "Steps 0 to 40: it stayed near 1.1."


def test_trials_without_scale_have_no_phases() -> None:
    assert scale_phases(pd.DataFrame({keys.STEPS: [1, 2]})) == []
    assert scale_phases(rows([math.nan, math.nan])) == []
    assert scale_phases(rows([1.0])) == []


@given(st.lists(st.floats(0.2, 10.0), min_size=2, max_size=40))
def test_phases_follow_each_other_and_alternate(scales: list[float]) -> None:
    phases = scale_phases(rows(scales))
    assert phases[0].first_step == 0
    assert phases[-1].last_step == 10 * (len(scales) - 1)
    for before, after in pairwise(phases):
        assert before.last_step == after.first_step
        assert before.end == after.start
        # All but the last, which may end anywhere, went by a turn at least.
        assert max(before.start, before.end) >= 1.25 * min(before.start, before.end)
