from __future__ import annotations

import pytest

from gap_tune.records.experiments import arm_of
from gap_tune.study import parse_arm
from gap_tune.tune.spelling import fixed_name, fixed_parts, is_fixed_name


@pytest.mark.parametrize("momenta", [(0.0,), (0.9,), (0.5, 0.123456789012), ("grid",)])
def test_a_name_of_fixed_momenta_is_read_as_it_is_written(momenta: tuple[float | str, ...]) -> None:
    name = fixed_name(*momenta)
    assert [part if part == "grid" else float(part) for part in fixed_parts(name)] == list(momenta)
    assert is_fixed_name(name)
    assert parse_arm(name).name == name


@pytest.mark.parametrize("name", ["gap", "optuna", "fixed", "gap-fixed"])
def test_other_names_are_not_those_of_fixed_momenta(name: str) -> None:
    assert not is_fixed_name(name)
    assert fixed_parts(name) == ()


def test_momenta_that_a_searcher_drew_are_named_by_six_digits() -> None:
    assert arm_of({"momentum": 0.912345678}) == "fixed:0.912346"
    assert arm_of({"momentum": 1e-7}) == fixed_name(1e-7)
    assert arm_of({"momentum": 0}) == "fixed:0"
