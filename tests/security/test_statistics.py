"""Statistics that a trial reports, or a file holds: bounded, checked, refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.errors import GapTuneError, InvalidValueError, StateError, check_range
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.testing import make_statistics
from gap_tune.tune import finite
from gap_tune.tune.statistics_json import LONGEST, parse, parse_one, read

GOOD: dict[str, Any] = make_statistics((0.5, 0.9)).to_dict()


def refused(text: Any) -> str:
    with pytest.raises(StateError) as raised:
        parse_one(text)
    assert len(str(raised.value)) < 1000
    return str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 99_000,
        '{"version":' * 9_000,
        "9" * 99_000,
        json.dumps({**GOOD, "version": [7] * 20_000}),
        json.dumps({**GOOD, "x" * 90_000: 1}),
        json.dumps({str(i): 0 for i in range(9_000)}),
        json.dumps({**GOOD, "candidates": [0.5] * 20_000}),
        json.dumps({**GOOD, "weight": float("nan")}),
        json.dumps({**GOOD, "alignment": [float("inf"), 1.0]}),
        json.dumps({**GOOD, "steps": float("inf")}),
        json.dumps(GOOD).replace('"steps": ', f'"steps": {"9" * 4000}'),
        json.dumps(GOOD).replace('"steps": ', f'"steps": {"9" * 400}'),
        json.dumps({**GOOD, "weight": "1"}),
        json.dumps({**GOOD, "weight": True}),
        json.dumps({**GOOD, "candidates": {"0.5": 1}}),
        json.dumps({"0.9": GOOD}),
        " " * (LONGEST + 1),
        b"{}",
        None,
        7,
    ],
    ids=lambda text: str(text)[:12],
)
def test_hostile_statistics_are_refused_in_a_sentence(text: Any) -> None:
    refused(text)


def test_bug_a_beta2_that_is_none_is_refused_by_another_error() -> None:
    with pytest.raises(StateError, match="beta2 of statistics must be a number"):
        parse(json.dumps({"often": GOOD}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(GOOD)), value=VALUES)
def test_any_value_is_taken_as_it_is_or_refused(name: str, value: Any) -> None:
    text = json.dumps({**GOOD, name: value})
    try:
        statistics = parse_one(text)
    except StateError:
        refused(text)
        return
    # What was taken can be used and written again.
    assert parse_one(json.dumps(statistics.to_dict())) == statistics
    statistics.gain()


@given(VALUES)
def test_no_json_at_all_ends_in_another_error(value: Any) -> None:
    with pytest.raises(StateError):
        parse(json.dumps(value))


def test_bug_a_file_without_an_end_is_read_to_its_end() -> None:
    with pytest.raises(StateError, match="at most 100000 characters"):
        read("/dev/zero")


def test_bug_a_number_beyond_floats_ends_a_check_with_an_overflow() -> None:
    with pytest.raises(InvalidValueError, match="momentum must be a number in"):
        check_range("momentum", 10**400, 0, 1)


def test_bug_a_number_too_long_to_write_out_is_no_failure_of_its_trial() -> None:
    found = finite.first_non_finite({"loss": 10**5000}, "loss")
    assert found is not None
    assert "a number of too many digits" in found


def test_statistics_from_a_dictionary_are_checked_alike() -> None:
    for data in ({}, {"version": 2}, {**GOOD, "more": 1}):
        with pytest.raises(GapTuneError):
            AlignmentStatistics.from_dict(data)


def test_statistics_that_are_whole_are_read(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(GOOD))
    assert read(path) == {None: AlignmentStatistics.from_dict(GOOD)}
