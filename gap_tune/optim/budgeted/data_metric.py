"""The optimizer of the data-metric budget: steps of a bounded mean square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.optim.budgeted.base import Block, BudgetedOptimizer, BudgetedOptions
from gap_tune.optim.budgeted.operators import data_metric_operators


class DataMetricOptimizer(BudgetedOptimizer):
    r"""Moves every direction that gradients have shown at one rate, for a mean squared step of B.

    The budget ``Tr(Q^2 M) = E |Q g|^2 <= B`` gives ``Q* = sqrt(B / Tr M)`` times the projector on
    the range of the running moment M: see ``BudgetedOptimizer`` for M and the step. The range of M
    contains every gradient in it, so while the operator is new the projector changes nothing and
    the step is SGD normalised by the running mean of ``|g|^2``: the optimum in the data's own
    metric does not whiten. A stale operator leaves out directions never seen before.

    Args:
        params: Parameters or parameter groups. Every option can be set per group.
        B: Budget, > 0, in squared units of the parameters: ``sqrt(B)`` is the step's RMS length.
        lr: Factor on the step, default 1; this and the rest as for ``FrobeniusOptimizer``. A step
            of constant length needs a schedule to settle in a minimum.
        decay: Weight of the moment's past per step, in [0, 1), default 0.99.
        structure: "full", "block" or "diagonal"; default "diagonal", which takes the steps of the
            full matrix (above) without its memory and decomposition.
        update_every: Steps between new operators, default 1.
        weight_decay: L2 penalty, default 0.
        maximize: Ascend instead of descend; default False.
        max_dimension: Largest matrix, default 1024.

    Raises:
        InvalidValueError, UnsupportedError, StateError: As ``FrobeniusOptimizer``.

    On CUDA, ``torch.linalg.eigh`` waits for the device once per matrix and new operator; with
    diagonals nothing waits. Source: Cor. 2(iii) of "Optimizing Optimizers for Fast Gradient-Based
    Learning" (arXiv 2512.06370).

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = DataMetricOptimizer([weight], B=25.0)
    >>> (10 * weight.square()).sum().backward()
    >>> optimizer.step()  # the first step has length sqrt(B) = 5, whatever the loss is scaled by
    >>> [round(number, 5) for number in weight.tolist()]
    [0.0, 0.0]
    """

    BOUNDS = ("B",)

    def __init__(
        self,
        params: ParamsT,
        B: float,
        *,
        structure: str = "diagonal",
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
        return data_metric_operators(moment, group["B"])
