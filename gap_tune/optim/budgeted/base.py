"""The running moment and the step that all budgeted optimizers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count, check_range
from gap_tune.optim.group_optimizer import GroupOptimizer, StateShapes
from gap_tune.optim.vectors import check_joinable, descend, joined_gradient


class Block(NamedTuple):
    """Parameters that share one block of the moment, and whether it is a matrix or a diagonal."""

    params: Sequence[Tensor]
    dense: bool


class BudgetedOptions(TypedDict, total=False):
    """Keyword arguments of every budgeted optimizer; ``BudgetedOptimizer`` has their defaults."""

    lr: float
    decay: float
    update_every: int
    weight_decay: float
    maximize: bool


class BudgetedOptimizer(GroupOptimizer):
    r"""Steps with the operator that a budget allows and the measured moment recommends.

    With the gradient ``g_t`` (L2 weight decay included) and the budget set of operators::

        M_t     = running mean of g g^T, weights decay^(t - s) normalised to sum 1
        Q_t     = argmax { Tr(Q M_t) : Q in the budget },    every update_every steps
        w_{t+1} = w_t - lr_t Q_t g_t

    M_t includes ``g_t`` itself, so the first operator is already defined. Each parameter group has
    its own moment and its own budget, which its blocks share.

    Structures of M and Q, which trade directions for memory:

    * ``"full"``: one matrix for the group, 2 d^2 numbers. Refused above ``max_dimension``.
    * ``"block"``: a matrix for each tensor of at most ``max_dimension`` numbers, a diagonal for
      each larger one.
    * ``"diagonal"``: one number per coordinate, 2 d numbers.

    A tensor without a gradient stays where it is; in a full matrix it reads as zeros, and a block
    all of whose tensors lack one takes no share of the budget. A non-finite gradient would stay in
    the moment: skip such steps, as ``torch.amp.GradScaler`` does.
    """

    BOUNDS: ClassVar[tuple[str, ...]] = ()
    STRUCTURES: ClassVar[tuple[str, ...]] = ("full", "block", "diagonal")

    def __init__(
        self,
        params: ParamsT,
        budget: dict[str, float],
        *,
        lr: float = 1.0,
        decay: float = 0.99,
        structure: str = "diagonal",
        update_every: int = 1,
        weight_decay: float = 0.0,
        maximize: bool = False,
        max_dimension: int = 1024,
    ) -> None:
        defaults = {
            "lr": lr,
            **budget,
            "decay": decay,
            "structure": structure,
            "update_every": update_every,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "max_dimension": max_dimension,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def _operators(
        self, group: dict[str, Any], blocks: Sequence[Block], moment: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return the budget's optimal operator for the moment, block by block."""
        raise NotImplementedError

    def _update(self, group: dict[str, Any]) -> None:
        blocks = [
            block
            for block in _blocks(group)
            if any(p.grad is not None and p.numel() > 0 for p in block.params)
        ]
        if not blocks:
            return
        gradients = [self._observe(block, group) for block in blocks]
        states = [self.state[block.params[0]] for block in blocks]
        due = group["steps"] % group["update_every"] == 0
        if due or any("operator" not in state for state in states):
            operators = self._operators(group, blocks, [state["moment"] for state in states])
            for state, operator in zip(states, operators, strict=True):
                state["operator"] = operator
        for block, state, gradient in zip(blocks, states, gradients, strict=True):
            operator = state["operator"]
            update = operator @ gradient if block.dense else operator * gradient
            descend(block.params, update, group["lr"])

    def _observe(self, block: Block, group: dict[str, Any]) -> Tensor:
        """Take the block's gradient, shape (n,), into its moment and return it."""
        gradient = joined_gradient(block.params, group)
        # torch saves state per parameter; the block's state lives with its first one.
        state = self.state[block.params[0]]
        if "moment" not in state:
            n = gradient.numel()
            state["moment"] = gradient.new_zeros((n, n) if block.dense else n)
            state["observed"] = 0
        state["observed"] += 1
        # The share of the newest gradient in a mean whose weights sum to 1 from the first step.
        share = (1 - group["decay"]) / (1 - group["decay"] ** state["observed"])
        state["moment"].mul_(1 - share)
        if block.dense:
            state["moment"].addr_(gradient, gradient, alpha=share)
        else:
            state["moment"].addcmul_(gradient, gradient, value=share)
        return gradient

    def _check_options(self, options: dict[str, Any]) -> None:
        for name in self.BOUNDS:
            check_range(name, options[name], 0, math.inf, low_open=True, high_open=True)
        for name in ("lr", "weight_decay"):
            check_range(name, options[name], 0, math.inf, high_open=True)
        check_range("decay", options["decay"], 0, 1, high_open=True)
        for name in ("update_every", "max_dimension"):
            check_count(name, options[name])
        if options["structure"] not in self.STRUCTURES:
            names = " or ".join(map(repr, self.STRUCTURES))
            raise InvalidValueError(f"structure must be {names}, but got {options['structure']!r}.")

    def _check_parameters(self, group: dict[str, Any]) -> None:
        params, limit = group["params"], group["max_dimension"]
        for parameter in params:
            if parameter.dtype not in (torch.float32, torch.float64):
                raise UnsupportedError(
                    f"{type(self).__name__} needs float32 or float64 parameters, since moments are "
                    f"squares and are decomposed, but got {parameter.dtype}."
                )
        check_joinable(params)
        d = sum(parameter.numel() for parameter in params)
        if group["structure"] == "full" and d > limit:
            gibibytes = 2 * d**2 * params[0].element_size() / 2**30
            raise InvalidValueError(
                f"{type(self).__name__} with structure='full' needs at most max_dimension={limit} "
                f"numbers in a group, but got {d}: two matrices of {gibibytes:.1f} GiB together. "
                "Use structure='block' or 'diagonal'."
            )

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        shapes: list[StateShapes] = []
        for block in _blocks(group):
            n = sum(parameter.numel() for parameter in block.params)
            shape = (n, n) if block.dense else (n,)
            shapes.append({"moment": shape, "operator": shape})
            shapes.extend({} for _ in block.params[1:])
        return shapes


def _blocks(group: dict[str, Any]) -> list[Block]:
    """Return the blocks of the group's moment, in the order of its parameters."""
    params = group["params"]
    if group["structure"] == "full":
        return [Block(params, dense=True)]
    largest = group["max_dimension"] if group["structure"] == "block" else -1
    return [Block([parameter], parameter.numel() <= largest) for parameter in params]
