"""The trust region's settings, the agreement, and numbers that come late."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gap_tune import TrustRegion
from gap_tune.control.agreement import Agreement
from gap_tune.control.late import LateValues
from gap_tune.errors import InvalidValueError

# Numbers that no decay makes subnormal, or 0.
_MAGNITUDES = st.floats(1e-140, 1e6)
PRODUCTS = st.lists(
    st.just(0.0) | _MAGNITUDES | _MAGNITUDES.map(lambda x: -x), min_size=1, max_size=40
)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-3.9, 3.9), st.integers(0, 5_000))
def test_a_step_moves_the_log_of_the_scale_by_the_gain_at_most(
    agreement: float, slow: float, log_scale: float, steps: int
) -> None:
    region = TrustRegion(pull=0.0)
    moved = region.moved(log_scale, agreement=agreement, slow_agreement=slow, steps=steps)
    assert abs(moved - log_scale) <= region.gain_after(steps) + 1e-12
    assert math.log(region.floor) <= moved <= math.log(region.span)
    assert (moved - log_scale) * agreement >= 0
    # It moves only where the slow agreement bears witness.
    assert moved == log_scale or agreement * slow >= 0


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-3.9, 3.9), st.integers(0, 5_000))
def test_the_pull_is_towards_the_learning_rate_that_was_set(
    agreement: float, slow: float, log_scale: float, steps: int
) -> None:
    def moved(pull: float) -> float:
        region = TrustRegion(pull=pull)
        return region.moved(log_scale, agreement=agreement, slow_agreement=slow, steps=steps)

    drawn = moved(0.05) - moved(0.0)
    assert drawn * log_scale <= 0
    assert abs(drawn) <= 0.05 * TrustRegion().gain_after(steps) * abs(log_scale) + 1e-12


def test_without_agreement_the_learning_rate_comes_back_to_what_was_set() -> None:
    region, log_scale = TrustRegion(fade_steps=1e9), TrustRegion().first
    far = [log_scale]
    for steps in range(3_000):
        log_scale = region.moved(log_scale, agreement=0.0, slow_agreement=0.0, steps=steps)
        far.append(abs(log_scale))
    assert far[1] > 1.0
    assert far[1:] == sorted(far[1:], reverse=True)
    assert far[-1] < 0.02


def push(agreement: float, slow: float) -> float:
    region = TrustRegion(gain=0.1, start_gain=0.1)
    return region.moved(0.0, agreement=agreement, slow_agreement=slow, steps=0) / 0.1


def test_growth_and_shrinkage_need_the_slow_agreement() -> None:
    assert push(0.4, 0.1) == pytest.approx(0.4)
    assert push(0.4, -0.1) == 0.0
    assert push(-0.4, -0.55) == push(-0.4, 0.2) == 0.0
    assert push(-0.4, -0.65) == pytest.approx(-0.4)


def test_each_doubling_of_the_steps_can_do_as_much() -> None:
    region = TrustRegion()
    totals = [sum(map(region.gain_after, range(n, 2 * n))) for n in (1_000, 4_000)]
    assert totals[0] == pytest.approx(totals[1], rel=0.01)
    assert totals[0] == pytest.approx(0.03 * region.fade_steps * math.log(2), rel=0.01)


def test_all_later_growth_together_is_bounded() -> None:
    region, log_scale = TrustRegion(pull=0.0, span=1e9), 0.0
    for steps in range(100, 100_000):
        log_scale = region.moved(log_scale, agreement=1.0, slow_agreement=1.0, steps=steps)
    # The integral of gain (growth_steps / t)^2 from growth_steps on, and what is left of the start.
    assert 0.03 * region.growth_steps < log_scale < 0.05 * region.growth_steps
    assert region.gain_after(10_000, of_growth=True) == pytest.approx(0.03 / 100**2)


@given(st.integers(0, 100_000))
def test_growth_never_has_the_larger_gain(steps: int) -> None:
    region = TrustRegion()
    assert region.gain_after(steps, of_growth=True) <= region.gain_after(steps)


def test_the_gain_falls_to_its_lasting_value_and_then_fades() -> None:
    region = TrustRegion(gain=0.03, start_gain=0.15, start_steps=50, fade_steps=1_000)
    assert region.gain_after(0) == pytest.approx(0.15)
    assert region.gain_after(50) == pytest.approx(0.03 + 0.12 / math.e)
    assert region.gain_after(900) == pytest.approx(0.03, rel=1e-3)
    assert region.gain_after(10_000) == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gain", -0.1),
        ("span", 0.5),
        ("floor", 0.0),
        ("floor", 1.5),
        ("opposition", 2.0),
        ("pull", -0.1),
        ("fade_steps", 0.0),
        ("slow", 1.0),
        ("slow_memory", math.nan),
        ("start", 0.0),
        ("start_steps", 0.0),
        ("memory", 1.0),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidValueError, match=f"{name} of a trust region must be"):
        TrustRegion.of({name: value})


def test_settings_of_other_names_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"must be a mapping of .* but got \['spam'\]"):
        TrustRegion.of({"spam": 1.0})
    with pytest.raises(InvalidValueError, match=r"must be a mapping of .* but got 'on'"):
        TrustRegion.of("on")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"must be a mapping of .* but got None"):
        TrustRegion.of(None)  # type: ignore[arg-type]


def test_settings_pass_through_json_values() -> None:
    region = TrustRegion(span=4, memory=0.8)
    assert TrustRegion.of(region.to_dict()) == region
    assert TrustRegion.of({}) == TrustRegion()
    assert not TrustRegion.of(TrustRegion.off().to_dict()).is_on
    assert TrustRegion.off() == TrustRegion.of({"span": 1})


@given(PRODUCTS)
def test_agreement_is_the_quotient_of_the_means(products: list[float]) -> None:
    agreement = Agreement(memory=0.8)
    for product in products:
        agreement.take_in(product)
    weights = 0.8 ** np.arange(len(products))[::-1]
    values = np.array(products)
    mean = np.average(values, weights=weights)
    size = np.average(np.abs(values), weights=weights)
    expected = mean / size if size > 0 else 0.0
    assert agreement.value == pytest.approx(expected, abs=1e-9)
    assert -1.0 <= agreement.value <= 1.0


@given(PRODUCTS, st.integers(-40, 40))
def test_agreement_has_no_units(products: list[float], exponent: int) -> None:
    plain, scaled = Agreement(memory=0.9), Agreement(memory=0.9)
    for product in products:
        plain.take_in(product)
        scaled.take_in(product * 2.0**exponent)
    assert scaled.value == pytest.approx(plain.value, rel=1e-12)


def test_bug_where_training_blew_up_nothing_opposed_it() -> None:
    """Each product was larger than all before, so that squares made the agreement small."""
    region, log_scale = TrustRegion(), 0.0
    fast, slow = Agreement(region.memory), Agreement(region.slow_memory)
    for product in (1.0, 0.5, 1.0, 0.8):
        fast.take_in(product)
        slow.take_in(product)
    for steps in range(4, 12):
        fast.take_in(-(3.0**steps))
        slow.take_in(-(3.0**steps))
        log_scale = region.moved(
            log_scale, agreement=fast.value, slow_agreement=slow.value, steps=steps
        )
    assert fast.value < -0.9
    assert log_scale < -0.5


def test_a_product_that_is_not_finite_counts_for_nothing() -> None:
    agreement = Agreement(memory=0.9)
    agreement.take_in(2.0)
    before = copy.copy(agreement)
    for product in (math.nan, math.inf, -math.inf, 1e300):
        assert not agreement.take_in(product)
    assert agreement == before


def test_late_values_come_in_order_and_a_fixed_number_of_steps_later() -> None:
    late = LateValues(3)
    numbers = [torch.tensor([float(i), -1.0]) for i in range(8)]
    found = [late.exchange(number) for number in numbers]
    assert found == [None] * 3 + [[float(i), -1.0] for i in range(5)]


def test_late_values_continue_from_their_state_and_from_a_copy() -> None:
    late = LateValues(3)
    for i in range(5):
        late.exchange([float(i)])
    again = LateValues(3)
    again.load_state_dict(late.state_dict())
    copied = copy.deepcopy(late)
    rest = [[10.0], [11.0], [12.0], [13.0]]
    expected = [[2.0], [3.0], [4.0], [10.0]]
    for each in (late, again, copied):
        assert [each.exchange(number) for number in rest] == expected
