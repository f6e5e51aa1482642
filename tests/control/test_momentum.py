"""What of momentum parameter groups hold, and what is written into them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gap_tune.control.momentum import apply_beta2, has_momentum, set_momentum
from gap_tune.errors import InvalidValueError, UnsupportedError


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


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_a_momentum_out_of_range_is_refused_by_its_name(value: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    with pytest.raises(InvalidValueError, match=r"^momentum must be a number in \[0, 1\)"):
        set_momentum(optimizer, optimizer.param_groups, value)
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_nesterovs_momentum_is_never_zero_and_then_no_group_is_changed() -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "nesterov": True}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    with pytest.raises(UnsupportedError, match=r"^Nesterov momentum must be positive, but got 0"):
        set_momentum(optimizer, optimizer.param_groups, 0.0)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9]
    set_momentum(optimizer, optimizer.param_groups, 0.5)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_an_average_called_nesterovs_may_have_none() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["nesterov"] = True
    set_momentum(optimizer, optimizer.param_groups, 0.0)
    assert optimizer.param_groups[0]["betas"] == (0.0, 0.999)
