"""The optimizer of the Frobenius budget: learning rates in proportion to evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.optim.budgeted.base import Block, BudgetedOptimizer, BudgetedOptions
from gap_tune.optim.budgeted.operators import frobenius_operators


class FrobeniusOptimizer(BudgetedOptimizer):
    r"""Moves each direction at a rate in proportion to its gradient power.

    The budget ``|Q|_F^2 <= B`` gives ``Q* = sqrt(B) M / |M|_F`` for the running moment M: see
    ``BudgetedOptimizer`` for M and the step. No direction moves at more than the learning rate
    ``sqrt(B)``; white gradients in d dimensions move at ``sqrt(B / d)``, as SGD does.

    Args:
        params: Parameters or parameter groups, float32 or float64. Every option can be set per
            group.
        B: Budget, > 0, in squared learning-rate units.
        lr: Factor on the step, >= 0. Default 1: the budget sets the step; for torch's schedulers.
        decay: Weight of the moment's past per step, in [0, 1). Default 0.99, a memory of 100
            gradients: d directions need many samples. With 0, M is the last ``g g^T`` and the step
            is SGD with learning rate ``sqrt(B)``.
        structure: "full", "block" or "diagonal"; default "full", the operator of the theory.
        update_every: Steps between new operators, >= 1. Default 1; the moment sees every gradient.
        weight_decay: L2 penalty, >= 0, default 0, added to the gradient as in ``torch.optim.SGD``.
        maximize: Ascend instead of descend; default False.
        max_dimension: Largest matrix, default 1024 (8 MiB of state in float32).

    Raises:
        InvalidValueError: When an option is out of range, or a full group is larger than
            ``max_dimension``; the message names the memory.
        UnsupportedError: When parameters are not all float32 or all float64 on one device, or a
            gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another structure or size.

    ``step`` never waits for the device. Source: Cor. 2(i) and Figure 2 of "Optimizing Optimizers
    for Fast Gradient-Based Learning" (arXiv 2512.06370).

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
    >>> optimizer = FrobeniusOptimizer([weight], B=0.25)
    >>> weight.square().sum().backward()
    >>> optimizer.step()  # the only direction seen so far moves at sqrt(B) = 1/2
    >>> [round(number, 6) for number in weight.tolist()]
    [0.0, 0.0]
    """

    BOUNDS = ("B",)

    def __init__(
        self,
        params: ParamsT,
        B: float,
        *,
        structure: str = "full",
        max_dimension: int = 1024,
        **options: Unpack[BudgetedOptions],
    ) -> None:
        budget = {"B": B}
        super().__init__(
            params, budget, structure=structure, max_dimension=max_dimension, **options
        )

    def _operators(
        self, group: dict[str, Any], blocks: Sequence[Block], moment: Sequence[Tensor]
    ) -> list[Tensor]:
        return frobenius_operators(moment, group["B"])
