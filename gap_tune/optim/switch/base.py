"""What the three switching optimizers share: arguments and the order of a step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypedDict, cast

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim.optimizer import ParamsT

from gap_tune.errors import InvalidValueError, UnsupportedError, check_range
from gap_tune.gradients.statistics import check_candidates
from gap_tune.optim.switch.buffers import (
    Slot,
    aligned,
    flat,
    flat_rows,
    real,
    relayout,
    zero_buffers,
)
from gap_tune.optim.switch.choice import MomentumChoice, SwitchOptions
from gap_tune.optim.switch.state import StatefulSwitch

DEFAULT_MOMENTA = (0.5, 0.9, 0.99)
_BUFFERS = "momentum_buffers"


class SwitchArguments(TypedDict, total=False):
    """The switch's own keyword arguments; ``SwitchOptimizer`` has their defaults."""

    momenta: Sequence[float]
    per_parameter: bool
    smoothing: float
    soft_reset: float
    hysteresis_threshold: int


class SwitchOptimizer(StatefulSwitch):
    """Keeps K momentum buffers per parameter and steps along the one with the largest gain.

    A step is: every buffer takes in the gradient and is scored (``_advance``), a candidate is
    chosen from all scores (``MomentumChoice``), the weights follow its buffer (``_apply``). With
    one candidate there is nothing to score, and ``_follow_torch`` is torch's own step, with
    torch's own state.
    """

    # The name that torch's own optimizer gives its momentum buffer.
    _torch_buffer: ClassVar[str]

    def __init__(
        self,
        params: ParamsT,
        defaults: dict[str, Any],
        *,
        momenta: Sequence[float] = DEFAULT_MOMENTA,
        per_parameter: bool = False,
        smoothing: float = 0.0,
        soft_reset: float = 0.9,
        hysteresis_threshold: int = 10,
    ) -> None:
        options = SwitchOptions(
            check_candidates(momenta), per_parameter, smoothing, soft_reset, hysteresis_threshold
        )
        super().__init__(_not_empty(params), defaults, options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own options, after checking them.

        Raises:
            InvalidValueError: When an option is out of range or belongs to the whole optimizer.
        """
        wrong = sorted({"betas", "momenta", "momentum"}.intersection(param_group))
        if wrong:
            raise InvalidValueError(
                "candidates are compared across all groups, so a parameter group must not bring "
                f"its own momentum, but got {wrong}; give momenta to the constructor."
            )
        self._check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step along the momentum buffer with the largest gain.

        Args:
            closure: Evaluates the loss again and returns it, as in every torch optimizer.

        Raises:
            UnsupportedError: When a gradient is sparse, or a parameter has gaps in memory or is
                sharded. One candidate alone handles whatever torch does.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if len(self.momenta) == 1:
            for group in self.param_groups:
                self._follow_torch(group, self.momenta[0])
        else:
            self._switch()
        return loss

    # Layouts, state and step counts are read in Python, and torch has no shape function for its
    # fused kernels: a compiled training step calls this as it is.
    @_disable_dynamo
    def _switch(self) -> None:
        slots = [
            self._slot(group, parameter, parameter.grad, row)
            for row, group, parameter in self._rows()
            if parameter.grad is not None
        ]
        if not slots:
            return
        choice = self._choice = self._ready_choice(slots[0].device)
        self._shrink_idle(choice)
        measured = [self._advance(slot, choice).to(choice.device) for slot in slots]
        if self._options.per_parameter:
            # A parameter without a gradient measures nothing: NaN leaves its row as it was.
            present = dict(zip((slot.row for slot in slots), measured, strict=True))
            nothing = torch.full_like(measured[0], math.nan)
            rows = [present.get(row, nothing) for row in range(choice.rows)]
            choice.decide(torch.stack(rows), absent=choice.rows - len(slots))
        else:
            choice.decide(torch.stack(measured).to(choice.dtype).sum(dim=0, keepdim=True))
        self._apply(slots, choice)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any], Tensor]]:
        """Yield each parameter with its group and the number of the choice it follows."""
        row = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                yield row, group, parameter
                row += self._options.per_parameter

    def _slot(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor, row: int) -> Slot:
        if gradient.layout != torch.strided:
            raise UnsupportedError(
                f"the switch needs dense gradients, but got layout {gradient.layout}."
            )
        weights, gradient = real(parameter.detach()), real(gradient.detach())
        state = self.state[parameter]
        first = not state
        if first:
            state.update(self._new_state(parameter, group))
        elif state[_BUFFERS].stride()[1:] != weights.stride():
            relayout(state, weights)
        buffers = flat_rows(state[_BUFFERS])
        gradient = flat(aligned(gradient, weights))
        return Slot(group, state, row, first, flat(weights), gradient, buffers)

    def _shrink_idle(self, choice: MomentumChoice) -> None:
        for row, _, parameter in self._rows():
            if parameter.grad is None and self.state.get(parameter):
                self.state[parameter][_BUFFERS].mul_(choice.shrink(row, parameter.device))

    def _ready_choice(self, device: torch.device) -> MomentumChoice:
        rows = self._row_count()
        if self._choice is None:
            return MomentumChoice(self._options, rows, device)
        return self._choice if self._choice.rows == rows else self._choice.grown(rows)

    def _new_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        if len(self.momenta) == 1:
            buffer = {self._torch_buffer: torch.zeros_like(parameter)}
            return {**buffer, **self._extra_state(parameter, group)}
        weights = real(parameter)
        buffers = {_BUFFERS: zero_buffers(len(self.momenta), weights)}
        return {**buffers, **self._extra_state(weights, group)}

    def _check_group(self, options: dict[str, Any]) -> None:
        """Refuse options out of range."""
        lr = options["lr"]
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise InvalidValueError(f"lr must hold one number, but got shape {tuple(lr.shape)}.")
        check_range("lr", lr, 0.0, math.inf, high_open=True)
        check_range("weight_decay", options["weight_decay"], 0.0, math.inf, high_open=True)

    @abstractmethod
    def _extra_state(self, weights: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return what a parameter's state holds besides momentum, before its first step."""

    @abstractmethod
    def _follow_torch(self, group: dict[str, Any], momentum: float) -> None:
        """Step the group as torch's own optimizer does with this momentum."""

    @abstractmethod
    def _advance(self, slot: Slot, choice: MomentumChoice) -> Tensor:
        """Let the slot's buffers take in its gradient; return what ``decide`` takes, as a row."""

    @abstractmethod
    def _apply(self, slots: list[Slot], choice: MomentumChoice) -> None:
        """Move the weights along the chosen buffers."""


def with_gradients(group: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the group's parameters that have a gradient, and the gradients."""
    parameters = [p for p in group["params"] if p.grad is not None]
    return parameters, [p.grad for p in parameters]


def _not_empty(params: ParamsT) -> ParamsT:
    if isinstance(params, Tensor):
        return params  # torch says what it expects instead
    listed = list(params)
    if not listed:
        raise InvalidValueError("the optimizer must get at least one parameter, but got none.")
    return cast(ParamsT, listed)
