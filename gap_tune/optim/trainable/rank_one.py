"""The trainable optimizer whose linear map has rank one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.optim.group_optimizer import StateShapes
from gap_tune.optim.trainable.base import TrainableOptimizer, TrainableOptions
from gap_tune.optim.vectors import (
    check_joinable,
    descend,
    joined_gradient,
    joined_weights,
)


class RankOneTO(TrainableOptimizer):
    r"""Trains vectors a, b, c so that ``a (c^T w) + b`` is the gradient at w.

    The group's parameters together, or each tensor alone, form a vector w of length d, and::

        e_t     = g_t - a_t (c_t^T w_t) - b_t
        a_{t+1} = a_t + alpha_t (c_t^T w_t) e_t
        c_{t+1} = c_t + alpha_t (a_t^T e_t) w_t
        b_{t+1} = b_t + beta_t e_t
        w_{t+1} = w_t - lr_t (a_{t+1} (c_{t+1}^T w_t) + b_{t+1})

    The product a c^T has a saddle at a = c = 0, where neither factor can move. The paper's
    ``A_0 = 0`` is kept with ``c_0 = 0`` and a_0 the unit vector along the first gradient (constant
    where that is zero): the error that the model makes first is the one that it can correct first,
    and with ``||a_0|| = 1`` at the rate ``alpha ||w||^2`` of ``FullTO``. To first order in alpha
    the model is stable while ``alpha ((c^T w)^2 + ||a||^2 ||w||^2) + beta < 2``. ``alpha = 0,
    beta = 1`` is SGD, bit for bit; ``alpha = 0, beta < 1`` steps along an exponential moving
    average of gradients. A parameter without a gradient stays where it is and counts as known
    input. State: 3 d numbers; ``step`` never waits for the device.

    Args:
        params: Parameters or parameter groups; every option below can be set per group.
        lr: Learning rate of the weights, >= 0. Schedule it with ``torch.optim.lr_scheduler``.
        alpha: Learning rate of a and c, >= 0, in units of 1 / weight^2. The paper's suggestion
            0.01.
        beta: Learning rate of b, in [0, 1]. The paper's suggestion 1: follow every gradient.
        alpha_decay: ``alpha_t = alpha * alpha_decay**t``, in (0, 1]; the default 1 keeps alpha.
        beta_decay: ``beta_t = beta * beta_decay**t``, in (0, 1]; the default 1 keeps beta. Other
            schedules write ``group["alpha"]`` and ``group["beta"]``, which are read at every step.
        weight_decay: L2 penalty, >= 0, default 0, added to the gradient as in ``torch.optim.SGD``.
        maximize: Ascend instead of descend; default False.
        per_tensor: Whether each tensor has factors of its own (a block-diagonal A of rank one per
            block) instead of one pair for the whole group, the paper's form. Tensors of one group
            may then differ in device and dtype, and the stable alpha depends on the largest
            tensor's norm instead of the model's.

    Raises:
        InvalidValueError: When an option is out of range or alpha and beta are both 0.
        UnsupportedError: When a parameter is complex, a gradient is sparse, or the parameters of a
            group with common factors differ in device or dtype.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    Source: Algorithm 3 of "A Trainable Optimizer" (arXiv 2508.01764), Section 3.3; the start of
    the factors is ours.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = RankOneTO([weight], lr=0.125, alpha=0.01, beta=1.0)
    >>> weight.square().sum().backward()
    >>> optimizer.step()  # along the gradient, lengthened by the factor 1 + alpha ||w||^2
    >>> [round(number, 4) for number in weight.tolist()]
    [2.0625, 2.75]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        alpha: float = 0.01,
        beta: float = 1.0,
        *,
        per_tensor: bool = False,
        **options: Unpack[TrainableOptions],
    ) -> None:
        super().__init__(params, {"per_tensor": per_tensor}, lr, alpha, beta, **options)

    def _train(self, group: dict[str, Any], alpha: float, beta: float) -> None:
        for params in _blocks(group):
            if any(parameter.grad is not None for parameter in params):
                self._update_block(params, group, alpha, beta)

    def _update_block(
        self, params: Sequence[Tensor], group: dict[str, Any], alpha: float, beta: float
    ) -> None:
        weights = joined_weights(params)
        left, right, offset = self._model(params, weights, group)
        projection = right.dot(weights)
        prediction = torch.addcmul(offset, left, projection)
        # Without a gradient an entry equals its prediction: no error, so its row stays as it is.
        gradient = joined_gradient(params, group, prediction)
        error = gradient - prediction
        turn = alpha * left.dot(error)
        new_projection = projection + turn * weights.dot(weights)
        # The new estimate from the gradient and the old factors; exact for alpha = 0, beta = 1.
        gain = alpha * projection * new_projection + (beta - 1)
        estimate = torch.addcmul(gradient, gain, error)
        estimate.addcmul_(left, new_projection - projection)
        left.addcmul_(error, projection, value=alpha)
        right.addcmul_(weights, turn)
        offset.add_(error, alpha=beta)
        descend(params, estimate, group["lr"])

    def _model(
        self, params: Sequence[Tensor], weights: Tensor, group: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        # torch saves state per parameter; the block's model lives with its first one.
        state = self.state[params[0]]
        if not state:
            state["left"] = _unit(joined_gradient(params, group))
            state["right"] = torch.zeros_like(weights)
            state["offset"] = torch.zeros_like(weights)
        return state["left"], state["right"], state["offset"]

    def _check_parameters(self, group: dict[str, Any]) -> None:
        super()._check_parameters(group)
        if not group["per_tensor"]:
            check_joinable(group["params"])

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        shapes: list[StateShapes] = []
        for params in _blocks(group):
            length = (sum(parameter.numel() for parameter in params),)
            shapes.append({"left": length, "right": length, "offset": length})
            shapes.extend({} for _ in params[1:])
        return shapes


def _blocks(group: dict[str, Any]) -> list[list[Tensor]]:
    """Return the parameters that share factors, block by block."""
    params: list[Tensor] = group["params"]
    return [[parameter] for parameter in params] if group["per_tensor"] else [params]


def _unit(vector: Tensor) -> Tensor:
    """Return the vector at length 1, and the constant unit vector for zero, on the device."""
    norm = torch.linalg.vector_norm(vector)
    constant = torch.full_like(vector, max(vector.numel(), 1) ** -0.5)
    return torch.where(norm > 0, vector / norm, constant)
