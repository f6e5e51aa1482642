from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune import AlignmentStatistics
from gap_tune.errors import InvalidValueError, StateError
from gap_tune.testing import make_statistics

finite = st.floats(-1e6, 1e6, allow_nan=False)
powers = st.floats(0.0, 1e6, allow_nan=False)


@st.composite
def statistics(draw: st.DrawFn) -> AlignmentStatistics:
    return make_statistics(
        (0.0, 0.5, 0.9),
        alignment=tuple(draw(st.lists(finite, min_size=3, max_size=3))),
        validation_alignment=tuple(draw(st.lists(finite, min_size=3, max_size=3))),
        autocorrelation=(draw(powers), draw(finite), draw(finite)),
        weight=draw(st.floats(0.1, 100)),
        validation_weight=draw(st.floats(0, 100)),
        steps=draw(st.integers(0, 1000)),
        skipped_steps=draw(st.integers(0, 10)),
    )


def close(a: AlignmentStatistics, b: AlignmentStatistics) -> bool:
    ours, theirs = a.to_dict(), b.to_dict()
    return all(
        ours[name] is None or np.allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-6)
        for name in ours
    )


@given(statistics(), statistics())
def test_merge_is_commutative(a: AlignmentStatistics, b: AlignmentStatistics) -> None:
    assert close(a.merge(b), b.merge(a))


@given(statistics(), statistics(), statistics())
def test_merge_is_associative(
    a: AlignmentStatistics, b: AlignmentStatistics, c: AlignmentStatistics
) -> None:
    assert close(a.merge(b).merge(c), a.merge(b.merge(c)))


@given(statistics())
def test_json_round_trip_is_exact(s: AlignmentStatistics) -> None:
    assert AlignmentStatistics.from_dict(json.loads(json.dumps(s.to_dict()))) == s


@given(statistics(), st.floats(0, 1))
def test_blended_gain_lies_between_pure_lags_and_in_batch(s: AlignmentStatistics, w: float) -> None:
    lags, blended, in_batch = s.gain(0.0), s.gain(w), s.gain(1.0)
    np.testing.assert_allclose(blended, (1 - w) * lags + w * in_batch, rtol=1e-9, atol=1e-6)


def example() -> AlignmentStatistics:
    return make_statistics(
        (0.5, 0.9),
        alignment=(2.0, 6.0),
        validation_alignment=(1.0, 3.0),
        autocorrelation=(4.0, 1.0),
        weight=2.0,
        validation_weight=1.0,
        steps=7,
        skipped_steps=1,
        dimension=100,
        sampled=50,
    )


def test_gain_by_hand() -> None:
    s = example()
    in_batch = [np.sqrt(0.75) * (4 + 0.5 * 2) / 2, np.sqrt(0.19) * (4 + 0.9 * 6) / 2]
    np.testing.assert_allclose(s.gain(1.0), in_batch)
    np.testing.assert_allclose(s.gain(None), [np.sqrt(0.75) * 1, np.sqrt(0.19) * 3])
    validation = [np.sqrt(0.75) * 1, np.sqrt(0.19) * 3]
    np.testing.assert_allclose(s.gain(1.0, validation_weight=1.0), validation)
    whitened = replace(s, whitening=18.0)
    np.testing.assert_allclose(whitened.gain(1.0), np.array(in_batch) / 3)


def test_statistics_take_a_few_hundred_bytes_as_json() -> None:
    s = replace(example(), autocorrelation=tuple(np.random.default_rng(0).normal(size=17)))
    assert len(json.dumps(s.to_dict())) < 1000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"candidates": (0.9, 0.5)}, "increase strictly"),
        ({"candidates": (0.5, 1.0)}, r"\[0, 1\)"),
        ({"candidates": ()}, "non-empty"),
        ({"alignment": (1.0,)}, "one number per candidate"),
        ({"weight": float("nan")}, "weight must be finite"),
        ({"autocorrelation": ()}, "at least lag 0"),
    ],
)
def test_inconsistent_statistics_are_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidValueError, match=complaint):
        replace(example(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        [],
        {},
        {"version": 2},
        {**example().to_dict(), "extra": 1},
        {**example().to_dict(), "alignment": [1.0]},
        {**example().to_dict(), "alignment": "12"},
        {**example().to_dict(), "weight": None},
        {**example().to_dict(), "weight": float("nan")},
        {**example().to_dict(), "steps": "many"},
        {k: v for k, v in example().to_dict().items() if k != "power" and k != "weight"},
    ],
)
def test_garbage_is_refused_with_a_state_error(garbage: object) -> None:
    with pytest.raises(StateError):
        AlignmentStatistics.from_dict(garbage)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"dimension": 5}, {"whitening": 1.0}, {"candidates": (0, 0.9)}])
def test_statistics_of_different_kinds_do_not_merge(change: dict[str, object]) -> None:
    with pytest.raises(StateError, match="must agree"):
        example().merge(replace(example(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mine", "theirs", "merged"),
    [
        ((4.0, 0.5), (1.0, -1.0), 0.2),
        ((4.0, None), (1.0, -1.0), -1.0),
        ((4.0, 0.5), (1.0, None), 0.5),
        ((4.0, None), (1.0, None), None),
        ((4.0, 0.0), (1.0, 1.0), 0.2),
        # Before the first step nothing has any weight.
        ((0.0, 0.25), (0.0, 0.75), 0.25),
        ((0.0, None), (0.0, 0.75), 0.75),
    ],
)
def test_the_agreement_of_merged_statistics_is_the_mean_of_what_was_measured(
    mine: tuple[float, float | None],
    theirs: tuple[float, float | None],
    merged: float | None,
) -> None:
    a, b = (replace(example(), weight=w, agreement=z) for w, z in (mine, theirs))
    assert a.merge(b).agreement == (None if merged is None else pytest.approx(merged))


def test_merged_statistics_of_adam_have_the_sum_of_their_whitenings() -> None:
    a, b = (replace(example(), whitening=w) for w in (2.0, 0.5))
    assert a.merge(b).whitening == 2.5
    assert example().merge(example()).whitening is None


def test_statistics_that_differ_are_told_apart_by_lags_and_whitening() -> None:
    own = example()
    other = replace(own, autocorrelation=(*own.autocorrelation, 1.0), whitening=1.0)
    lags = len(own.autocorrelation) - 1
    with pytest.raises(StateError) as error:
        own.merge(other)
    assert f", {lags}, {own.dimension}, False) and " in str(error.value)
    assert f", {lags + 1}, {own.dimension}, True)." in str(error.value)


def test_candidates_increase_strictly_and_are_momenta() -> None:
    with pytest.raises(InvalidValueError, match="must increase strictly"):
        replace(example(), candidates=(0.5, 0.5))
    with pytest.raises(InvalidValueError, match="each candidate must be"):
        replace(example(), candidates=(0.5, 1.0))


def test_a_dictionary_of_statistics_holds_lists() -> None:
    written = example().to_dict()
    assert not any(isinstance(value, tuple) for value in written.values())
