from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune import (
    AlignmentRule,
    AlignmentStatistics,
    Decision,
    FixedMomentum,
    MomentumRule,
    Reason,
)
from gap_tune.errors import InvalidValueError
from gap_tune.testing import make_statistics

CANDIDATES = (0.0, 0.5, 0.9, 0.99)


def make(
    alignment: tuple[float, ...] = (1.0, 1.5, 4.0, 6.0),
    power: float = 2.0,
    steps: int = 50,
    candidates: tuple[float, ...] = CANDIDATES,
) -> AlignmentStatistics:
    return make_statistics(
        candidates, alignment=alignment, autocorrelation=(power, 0.0), steps=steps
    )


def test_the_largest_gain_is_chosen() -> None:
    # By hand, w = 0.3: J = sqrt(1-b^2) (0.6 + b a) = 0.6, 1.169, 1.831, 0.922.
    decision = AlignmentRule().decide(make(), 0.5)
    assert decision.momentum == 0.9
    assert (decision.previous, decision.reason, decision.changed) == (0.5, Reason.BEST_GAIN, True)
    np.testing.assert_allclose(decision.gains, [0.6, 1.169, 1.831, 0.922], atol=1e-3)
    assert "0.9 has the largest gain" in decision.explanation


def test_the_best_momentum_stays() -> None:
    decision = AlignmentRule().decide(make(), 0.9)
    assert (decision.changed, decision.reason) == (False, Reason.ALREADY_BEST)


def test_noise_biases_the_papers_rule_to_low_momentum_and_not_cross_batch() -> None:
    noisy = make(power=100.0)
    assert AlignmentRule.paper().decide(noisy, 0.9).momentum == 0.0
    assert AlignmentRule.cross_batch().decide(noisy, 0.5).momentum == 0.9


@given(st.floats(1e-3, 1e3), st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.floats(0, 5))
def test_scaling_all_gradients_changes_no_decision(
    scale: float, alignment: list[float], power: float
) -> None:
    base = make(tuple(alignment), power)
    scaled = make(tuple(a * scale**2 for a in alignment), power * scale**2)
    gains = base.gain()
    # A tie may break either way after rounding.
    if np.diff(np.sort(gains))[-1] < 1e-9 or abs(gains.max()) < 1e-9:
        return
    assert (
        AlignmentRule().decide(base, 0.9).momentum == AlignmentRule().decide(scaled, 0.9).momentum
    )


def test_warm_up_keeps_momentum() -> None:
    decision = AlignmentRule(warmup_steps=5).decide(make(steps=4), 0.5)
    assert (decision.momentum, decision.reason) == (0.5, Reason.WARM_UP)
    assert "4 of 5" in decision.explanation


def test_nothing_observed_is_a_warm_up_even_without_one() -> None:
    empty = replace(make(alignment=(0.0,) * 4, power=0.0, steps=0), weight=0.0)
    assert AlignmentRule(warmup_steps=0).decide(empty, 0.9).reason == Reason.WARM_UP


def test_no_alignment_takes_the_lowest_candidate_not_the_least_negative_gain() -> None:
    decision = AlignmentRule().decide(
        make(alignment=(-5.0,) * 3, power=0.1, candidates=(0.8, 0.9, 0.99)), 0.9
    )
    assert (decision.momentum, decision.reason) == (0.8, Reason.NO_ALIGNMENT)
    assert int(np.argmax(decision.gains)) == 2


def test_hysteresis_keeps_momentum_within_the_margin() -> None:
    # Gains of 0.5 and 0.9 are 1.169 and 1.831: 57 % apart.
    assert AlignmentRule(hysteresis=0.5).decide(make(), 0.5).momentum == 0.9
    decision = AlignmentRule(hysteresis=0.6).decide(make(), 0.5)
    assert (decision.momentum, decision.reason) == (0.5, Reason.HYSTERESIS)


def test_bounds_clip_and_say_so() -> None:
    decision = AlignmentRule(high=0.85).decide(make(), 0.5)
    assert (decision.momentum, decision.reason) == (0.85, Reason.BOUNDS)
    assert AlignmentRule(low=0.95).decide(make(), 0.97).momentum == 0.95


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4),
    st.floats(0, 1e3),
    st.integers(0, 20),
    st.floats(0, 0.99),
    st.floats(0, 2),
)
def test_every_decision_is_within_bounds_and_has_a_reason(
    alignment: list[float], power: float, steps: int, momentum: float, margin: float
) -> None:
    rule = AlignmentRule(low=0.2, high=0.95, hysteresis=margin)
    decision = rule.decide(make(tuple(alignment), power, steps), momentum)
    assert 0.2 <= decision.momentum <= 0.95
    assert decision.explanation.endswith(".")
    assert decision.previous == momentum


@pytest.mark.parametrize(
    "arguments",
    [
        {"lag_zero_weight": 1.1},
        {"lag_zero_weight": float("nan")},
        {"validation_weight": -0.1},
        {"hysteresis": -1},
        {"low": -0.1},
        {"high": 1.0},
        {"low": 0.9, "high": 0.5},
        {"warmup_steps": -1},
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError, match="but got"):
        AlignmentRule(**arguments)  # type: ignore[arg-type]


def test_a_decision_with_a_non_finite_gain_cannot_exist() -> None:
    with pytest.raises(InvalidValueError, match="finite"):
        Decision(0.9, 0.9, Reason.FIXED, "x.", (0.9,), (float("nan"),))


def test_fixed_momentum_never_changes() -> None:
    decision = FixedMomentum().decide(make(), 0.37)
    assert (decision.momentum, decision.reason) == (0.37, Reason.FIXED)


@pytest.mark.parametrize(
    "rule", [AlignmentRule(0.5, low=0.1), AlignmentRule.cross_batch(), FixedMomentum()]
)
def test_a_rule_is_written_as_what_makes_it(rule: MomentumRule) -> None:
    again = eval(repr(rule))
    assert (type(again), vars(again)) == (type(rule), vars(rule))
