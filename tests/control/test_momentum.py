"""What of momentum parameter groups hold, and what is written into them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gap_tune.control.momentum import apply_beta2, has_momentum
from gap_tune.errors import InvalidValueError


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        (torch.optim.SGD, True),
        (torch.optim.RMSprop, True),
        (torch.optim.AdamW, True),
        (torch.optim.Adagrad, False),
    ],
)
def test_momentum_is_a_sums_or_an_averages(kind: Any, has: bool) -> None:
    assert has_momentum(kind([torch.nn.Parameter(torch.ones(2))])) is has


def test_every_group_must_have_it() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.param_groups.append({"params": [], "lr": 0.1})
    assert not has_momentum(optimizer)


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_a_beta2_out_of_range_is_refused_by_its_name_and_changes_nothing(value: float) -> None:
    group = {"betas": (0.9, 0.99)}
    with pytest.raises(InvalidValueError, match=r"^beta2 must be a number in \[0, 1\)"):
        apply_beta2(group, value)
    assert group == {"betas": (0.9, 0.99)}


def test_other_betas_stay() -> None:
    group = {"betas": (0.9, 0.99, 0.999)}
    apply_beta2(group, 0.5)
    assert group["betas"] == (0.9, 0.5, 0.999)
