"""The budgeted optimizers as torch optimizers: groups, arguments, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim.budgeted import (
    DataMetricOptimizer,
    DiagonalOptimizer,
    FrobeniusOptimizer,
    SpectralOptimizer,
)
from tests.optim.budgeted_cases import frobenius
from tests.optim.stepping import equal, run, set_gradients, tensors


def test_groups_have_budgets_of_their_own() -> None:
    params, twins = tensors(), tensors()
    optimizer = FrobeniusOptimizer(
        [{"params": params[:1], "B": 2.0}, {"params": params[1:]}], B=0.5
    )
    others = [FrobeniusOptimizer(twins[:1], B=2.0), FrobeniusOptimizer(twins[1:], B=0.5)]
    for step in range(4):
        set_gradients(params, step)
        set_gradients(twins, step)
        for each in (optimizer, *others):
            each.step()
    assert equal(params, twins)


def test_state_of_another_structure_is_refused() -> None:
    params = tensors()
    saved = frobenius(params, structure="full")
    run(saved, params, range(1))
    with pytest.raises(StateError, match="must hold tensors of shapes"):
        frobenius(params, structure="diagonal").load_state_dict(saved.state_dict())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: FrobeniusOptimizer(p, B=0.0), r"B must be a number in \(0, inf\), but got 0.0"),
        (lambda p: DataMetricOptimizer(p, B=-1.0), "B must be a number in"),
        (lambda p: SpectralOptimizer(p, tau=0.0, lam=1.0), "tau must be a number in"),
        (lambda p: SpectralOptimizer(p, tau=1.0, lam=math.inf), "lam must be a number in"),
        (lambda p: frobenius(p, lr=-0.1), "lr must be a number in"),
        (lambda p: frobenius(p, decay=1.0), r"decay must be a number in \[0, 1\)"),
        (lambda p: frobenius(p, weight_decay=-1.0), "weight_decay must be a number in"),
        (lambda p: frobenius(p, update_every=0), "update_every must be an integer of at least 1"),
        (
            lambda p: frobenius(p, structure="layer"),
            "structure must be 'full' or",
        ),
        (lambda p: frobenius(p, max_dimension=0), "max_dimension must be an integer"),
        (lambda p: DiagonalOptimizer(p, 1.0, [1.0]), "one entry per parameter, 3, but got 1"),
        (lambda p: DiagonalOptimizer(p, 1.0, [1.0, 0.0, 1.0]), r"costs\[1\] must be positive"),
        (
            lambda p: DiagonalOptimizer(p, 1.0, [torch.ones(3, 2), 1.0, 1.0]),
            r"costs\[0\] must be a number or have shape \(2, 3\), but got shape \(3, 2\)",
        ),
        (lambda p: DiagonalOptimizer([{"params": p}], 1.0, [1.0]), "given in each group"),
    ],
)
def test_options_out_of_range_are_named(build: Callable[..., Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        build(tensors())


def test_refused_groups_are_not_kept() -> None:
    optimizer = DiagonalOptimizer(tensors(), B=1.0)
    for group in ({"B": -1.0}, {"costs": [1.0]}, {"structure": "full"}):
        with pytest.raises(InvalidValueError):
            optimizer.add_param_group({"params": tensors(1), **group})
        assert len(optimizer.param_groups) == 1


def test_full_structure_refuses_large_groups_with_the_memory_it_would_need() -> None:
    weight = torch.nn.Parameter(torch.empty(16_384, device="meta"))
    with pytest.raises(InvalidValueError, match=r"max_dimension=1024.*16384.*2\.0 GiB"):
        FrobeniusOptimizer([weight], B=1.0)
    FrobeniusOptimizer([weight], B=1.0, structure="diagonal")


def test_half_precision_and_sparse_gradients_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="bfloat16"):
        frobenius([torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))])
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(UnsupportedError, match="must be dense"):
        frobenius([weight]).step()
