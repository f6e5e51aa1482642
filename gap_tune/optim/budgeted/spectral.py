"""The optimizer of the spectral budget: water-filling of the largest eigendirections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.optim.budgeted.base import Block, BudgetedOptimizer, BudgetedOptions
from gap_tune.optim.budgeted.operators import spectral_operators


class SpectralOptimizer(BudgetedOptimizer):
    r"""Moves the directions of largest gradient power at a common rate, and the rest not at all.

    The budget ``Tr Q <= tau, Q <= lam I`` gives the eigendirections of the running moment M, from
    the largest eigenvalue on, the learning rate ``lam`` each until ``tau`` is spent: see
    ``BudgetedOptimizer`` for M and the step. ``lam`` caps the rate as clipping does, and
    ``tau / lam`` is the number of directions that move; ``tau >= d lam`` is SGD with learning rate
    ``lam``.

    Args:
        params: Parameters or parameter groups. Every option can be set per group.
        tau: Bound on the trace, > 0: the sum of learning rates.
        lam: Bound on the eigenvalues, > 0: the largest learning rate.
        lr: Factor on the step, default 1; this and the rest as for ``FrobeniusOptimizer``.
        decay: Weight of the moment's past per step, in [0, 1), default 0.99.
        structure: "full", "block" or "diagonal"; default "full". A diagonal moves the coordinates
            of largest power.
        update_every: Steps between new operators, default 1. Each costs one eigendecomposition
            per matrix, O(n^3), so take 10 or more for n of some hundreds.
        weight_decay: L2 penalty, default 0.
        maximize: Ascend instead of descend; default False.
        max_dimension: Largest matrix, default 1024.

    Raises:
        InvalidValueError, UnsupportedError, StateError: As ``FrobeniusOptimizer``.

    On CUDA, ``torch.linalg.eigh`` waits for the device once per matrix and new operator, to check
    that it converged; nothing else waits. Source: Cor. 2(ii) of "Optimizing Optimizers for Fast
    Gradient-Based Learning" (arXiv 2512.06370).

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
    >>> optimizer = SpectralOptimizer([weight], tau=0.5, lam=0.5, structure="diagonal")
    >>> weight.square().sum().backward()
    >>> optimizer.step()  # one coordinate, that of the larger gradient, moves at 1/2
    >>> weight.tolist()
    [0.0, 1.0]
    """

    BOUNDS = ("tau", "lam")

    def __init__(
        self,
        params: ParamsT,
        tau: float,
        lam: float,
        *,
        structure: str = "full",
        max_dimension: int = 1024,
        **options: Unpack[BudgetedOptions],
    ) -> None:
        budget = {"tau": tau, "lam": lam}
        super().__init__(
            params, budget, structure=structure, max_dimension=max_dimension, **options
        )

    def _operators(
        self, group: dict[str, Any], blocks: Sequence[Block], moment: Sequence[Tensor]
    ) -> list[Tensor]:
        return spectral_operators(moment, group["tau"], group["lam"])
