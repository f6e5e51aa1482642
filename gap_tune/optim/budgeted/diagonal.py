"""The optimizer of the diagonal budget: one learning rate per coordinate, evidence over cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.errors import InvalidValueError
from gap_tune.optim.budgeted.base import Block, BudgetedOptimizer, BudgetedOptions
from gap_tune.optim.budgeted.operators import diagonal_operators
from gap_tune.optim.group_optimizer import StateShapes


class DiagonalOptimizer(BudgetedOptimizer):
    r"""Moves each coordinate at a rate in proportion to its gradient power over its cost.

    The budget ``sum_j c_j q_j^2 <= B`` gives ``q_j* = sqrt(B) (v_j / c_j) / sqrt(sum_k v_k^2/c_k)``
    with ``v_j`` the running mean of ``g_j^2``: see ``BudgetedOptimizer`` for the mean and the step.
    Equal powers in d coordinates of cost 1 move at ``sqrt(B / d)``, as SGD does. Unlike Adam, which
    is the optimum among filters whose scale is fixed at ``1 / c_j`` (Cor. 6), the free optimum
    moves coordinates of larger power faster.

    Args:
        params: Parameters or parameter groups. Every option can be set per group.
        B: Budget, > 0, in squared learning-rate units.
        costs: One entry per parameter: a number for all its coordinates or a tensor of its shape,
            all positive. Default: all 1. Only with a plain sequence of parameters; groups carry
            their own.
        lr: Factor on the step, default 1; this and the rest as for ``FrobeniusOptimizer``.
        decay: Weight of the moment's past per step, in [0, 1), default 0.99.
        update_every: Steps between new operators, default 1.
        weight_decay: L2 penalty, default 0.
        maximize: Ascend instead of descend; default False.

    Raises:
        InvalidValueError: Also when costs are not positive and finite, or do not fit the
            parameters.
        UnsupportedError, StateError: As ``FrobeniusOptimizer``.

    State: 2 d numbers, and d more with costs. ``step`` never waits for the device. Source:
    Cor. 2(iv) of "Optimizing Optimizers for Fast Gradient-Based Learning" (arXiv 2512.06370).

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([2.0, 2.0]))
    >>> optimizer = DiagonalOptimizer([weight], B=5.0, costs=[torch.tensor([1.0, 4.0])])
    >>> weight.sum().backward()
    >>> optimizer.step()  # equal powers; a fourfold cost, a fourth of the rate
    >>> [round(number, 6) for number in weight.tolist()]
    [0.0, 1.5]
    """

    BOUNDS = ("B",)
    STRUCTURES = ("diagonal",)

    def __init__(
        self,
        params: ParamsT,
        B: float,
        costs: Sequence[float | Tensor] | None = None,
        **options: Unpack[BudgetedOptions],
    ) -> None:
        if costs is not None:
            entries: list[Any] = list(params)
            if any(isinstance(entry, dict) for entry in entries):
                raise InvalidValueError("costs must be given in each group when params are groups.")
            params = [{"params": entries, "costs": costs}]
        super().__init__(params, {"B": B}, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with ``costs`` if they have any; see ``GroupOptimizer``.

        Raises:
            InvalidValueError: When an option is out of range or costs do not fit the parameters.
        """
        group = dict(param_group)
        costs = group.pop("costs", None)
        super().add_param_group(group)
        if costs is None:
            return
        params = self.param_groups[-1]["params"]
        try:
            tensors = _cost_tensors(params, costs)
        except InvalidValueError:
            self.param_groups.pop()
            raise
        # They are in the state, not in the group: torch moves and saves them with the moments.
        for parameter, tensor in zip(params, tensors, strict=True):
            self.state[parameter]["costs"] = tensor

    def _operators(
        self, group: dict[str, Any], blocks: Sequence[Block], moment: Sequence[Tensor]
    ) -> list[Tensor]:
        costs = [self.state[block.params[0]].get("costs") for block in blocks]
        return diagonal_operators(moment, group["B"], costs)

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        shapes = super()._state_shapes(group)
        return [{**each, "costs": each["moment"]} for each in shapes]


def _cost_tensors(params: Sequence[Tensor], costs: Sequence[float | Tensor]) -> list[Tensor]:
    """Return the costs of each parameter's coordinates, shape (n,)."""
    if len(costs) != len(params):
        raise InvalidValueError(
            f"costs must have one entry per parameter, {len(params)}, but got {len(costs)}."
        )
    tensors = []
    for index, (parameter, cost) in enumerate(zip(params, costs, strict=True)):
        tensor = torch.as_tensor(cost, dtype=parameter.dtype, device=parameter.device)
        if tensor.ndim and tensor.shape != parameter.shape:
            raise InvalidValueError(
                f"costs[{index}] must be a number or have shape {tuple(parameter.shape)}, "
                f"but got shape {tuple(tensor.shape)}."
            )
        if not bool(((tensor > 0) & tensor.isfinite()).all()):
            raise InvalidValueError(f"costs[{index}] must be positive and finite, but got {cost}.")
        tensors.append(tensor.detach().expand_as(parameter).reshape(-1).clone())
    return tensors
