"""The trainable optimizer whose linear map is a full matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.errors import InvalidValueError, check_count
from gap_tune.optim.group_optimizer import StateShapes
from gap_tune.optim.trainable.base import TrainableOptimizer, TrainableOptions
from gap_tune.optim.vectors import (
    check_joinable,
    descend,
    joined_gradient,
    joined_weights,
)


class FullTO(TrainableOptimizer):
    r"""Trains a matrix A and a vector b so that ``A w + b`` is the gradient at w.

    The group's parameters form one vector w of length d, and::

        e_t     = g_t - A_t w_t - b_t
        A_{t+1} = A_t + alpha_t e_t w_t^T
        b_{t+1} = b_t + beta_t e_t
        w_{t+1} = w_t - lr_t (A_{t+1} w_t + b_{t+1})

    from ``A_0 = 0, b_0 = 0``. Near a minimiser w* the gradient is ``H (w - w*)``, which the model
    represents exactly. The residual left after the update is ``(1 - beta - alpha ||w||^2) e``: the
    model is stable while ``alpha ||w||^2 + beta < 2``, so a group with large weights needs a small
    alpha. ``alpha = 0, beta = 1`` is SGD, bit for bit; ``alpha = 0, beta < 1`` steps along an
    exponential moving average of gradients. A parameter without a gradient stays where it is and
    counts as known input. State: d^2 + d numbers; a step costs about ``3 d^2`` multiplications and
    never waits for the device.

    Args:
        params: Parameters or parameter groups. Each group has a matrix of its own; one group, the
            default, is the paper's whole-model form. Every option can be set per group.
        lr: Learning rate of the weights, >= 0. Schedule it with ``torch.optim.lr_scheduler``.
        alpha: Learning rate of A, >= 0, in units of 1 / weight^2. The paper's suggestion 0.01.
        beta: Learning rate of b, in [0, 1]. The paper's suggestion 1: follow every gradient.
        alpha_decay: ``alpha_t = alpha * alpha_decay**t``, in (0, 1]; the default 1 keeps alpha.
        beta_decay: ``beta_t = beta * beta_decay**t``, in (0, 1]; the default 1 keeps beta. Other
            schedules write ``group["alpha"]`` and ``group["beta"]``, which are read at every step.
        weight_decay: L2 penalty, >= 0, default 0, added to the gradient as in ``torch.optim.SGD``.
        maximize: Ascend instead of descend; default False.
        max_dimension: Largest d that is accepted. The default, 16384, is 1 GiB in float32.

    Raises:
        InvalidValueError: When an option is out of range, alpha and beta are both 0, or a group
            has more than ``max_dimension`` numbers.
        UnsupportedError: When a parameter is complex, a gradient is sparse, or the parameters of a
            group differ in device or dtype.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    Source: Algorithm 1 of "A Trainable Optimizer" (arXiv 2508.01764), Section 3.1.

    >>> weight = torch.nn.Parameter(torch.tensor([2.0]))
    >>> optimizer = FullTO([weight], lr=0.5, alpha=0.125, beta=0.5)
    >>> weight.square().sum().backward()  # gradient 4; A becomes 1 and b becomes 2
    >>> optimizer.step()
    >>> weight.item()
    0.0
    >>> FullTO(torch.nn.Linear(1000, 1000).parameters(), lr=0.1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: FullTO needs ... a matrix of 3732.7 GiB...
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        alpha: float = 0.01,
        beta: float = 1.0,
        *,
        max_dimension: int = 16_384,
        **options: Unpack[TrainableOptions],
    ) -> None:
        super().__init__(params, {"max_dimension": max_dimension}, lr, alpha, beta, **options)

    def _train(self, group: dict[str, Any], alpha: float, beta: float) -> None:
        params = group["params"]
        weights = joined_weights(params)
        matrix, offset = self._model(params, weights)
        prediction = torch.addmv(offset, matrix, weights)
        # Without a gradient an entry equals its prediction: no error, so its row stays as it is.
        gradient = joined_gradient(params, group, prediction)
        error = gradient - prediction
        matrix.addr_(error, weights, alpha=alpha)
        offset.add_(error, alpha=beta)
        # The new estimate A w + b without a second product with A; exact for alpha = 0, beta = 1.
        gain = alpha * weights.dot(weights) + (beta - 1)
        descend(params, torch.addcmul(gradient, gain, error), group["lr"])

    def _model(self, params: Sequence[Tensor], weights: Tensor) -> tuple[Tensor, Tensor]:
        # torch saves state per parameter; the group's model lives with its first one.
        state = self.state[params[0]]
        if not state:
            state["matrix"] = weights.new_zeros(weights.numel(), weights.numel())
            state["offset"] = torch.zeros_like(weights)
        return state["matrix"], state["offset"]

    def _check_options(self, options: dict[str, Any]) -> None:
        super()._check_options(options)
        check_count("max_dimension", options["max_dimension"])

    def _check_parameters(self, group: dict[str, Any]) -> None:
        super()._check_parameters(group)
        params, limit = group["params"], group["max_dimension"]
        check_joinable(params)
        d = sum(parameter.numel() for parameter in params)
        if d > limit:
            gibibytes = d**2 * params[0].element_size() / 2**30
            raise InvalidValueError(
                f"FullTO needs at most max_dimension={limit} numbers in a group, but got {d}: "
                f"a matrix of {gibibytes:.1f} GiB. Use DiagonalTO or RankOneTO."
            )

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        d = sum(parameter.numel() for parameter in group["params"])
        return [{"matrix": (d, d), "offset": (d,)}, *({} for _ in group["params"][1:])]
