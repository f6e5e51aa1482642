"""The trainable optimizer whose linear map is diagonal."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.optim.group_optimizer import StateShapes
from gap_tune.optim.trainable.base import TrainableOptimizer, TrainableOptions
from gap_tune.optim.vectors import observed_gradient


class DiagonalTO(TrainableOptimizer):
    r"""Trains one line ``a_j w_j + b_j`` per coordinate as the model of its gradient.

    With ``(*)`` elementwise::

        e_t     = g_t - a_t (*) w_t - b_t
        a_{t+1} = a_t + alpha_t e_t (*) w_t
        b_{t+1} = b_t + beta_t e_t
        w_{t+1} = w_t - lr_t (a_{t+1} (*) w_t + b_{t+1})

    The residual left after the update is ``(1 - beta - alpha w_j^2) e_j``: the model is stable
    while ``alpha w_j^2 + beta < 2`` in every coordinate. ``alpha = 0, beta = 1`` is SGD, bit for
    bit; ``alpha = 0, beta < 1`` steps along an exponential moving average of gradients. State:
    two tensors of each parameter's shape (2 d numbers). ``step`` never waits for the device.

    Args:
        params: Parameters or parameter groups; every option below can be set per group.
        lr: Learning rate of the weights, >= 0. Schedule it with ``torch.optim.lr_scheduler``.
        alpha: Learning rate of ``a``, >= 0, in units of 1 / weight^2. The paper's suggestion 0.01.
        beta: Learning rate of ``b``, in [0, 1]. The paper's suggestion 1: follow every gradient.
        alpha_decay: ``alpha_t = alpha * alpha_decay**t``, in (0, 1]; the default 1 keeps alpha.
        beta_decay: ``beta_t = beta * beta_decay**t``, in (0, 1]; the default 1 keeps beta. Other
            schedules write ``group["alpha"]`` and ``group["beta"]``, which are read at every step.
        weight_decay: L2 penalty, >= 0, default 0, added to the gradient as in ``torch.optim.SGD``.
        maximize: Ascend instead of descend; default False.

    Raises:
        InvalidValueError: When an option is out of range or alpha and beta are both 0.
        UnsupportedError: When a parameter is complex or a gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    Source: Algorithm 2 of "A Trainable Optimizer" (arXiv 2508.01764), Section 3.3.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = DiagonalTO([weight], lr=0.5, alpha=0.0, beta=1.0)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.tolist()
    [0.0, 0.0]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        alpha: float = 0.01,
        beta: float = 1.0,
        **options: Unpack[TrainableOptions],
    ) -> None:
        super().__init__(params, {}, lr, alpha, beta, **options)

    def _train(self, group: dict[str, Any], alpha: float, beta: float) -> None:
        models = self._models(group)
        # Launching all tensors together saves kernels on accelerators; on the CPU a tensor that
        # is finished before the next one starts stays in the cache, which is four times faster.
        on_cpu = all(model.weights.device.type == "cpu" for model in models)
        for batch in [[model] for model in models] if on_cpu else [models]:
            _train_models(batch, alpha, beta, group["lr"])

    def _models(self, group: dict[str, Any]) -> list[_Model]:
        models = []
        for parameter in group["params"]:
            gradient = observed_gradient(parameter, group)
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:
                state["slope"] = torch.zeros_like(parameter)
                state["offset"] = torch.zeros_like(parameter)
            models.append(_Model(parameter, gradient, state["slope"], state["offset"]))
        return models

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        shapes = [tuple(parameter.shape) for parameter in group["params"]]
        return [{"slope": shape, "offset": shape} for shape in shapes]


class _Model(NamedTuple):
    """One tensor's weights, gradient, and the slope a and offset b of its gradient model."""

    weights: Tensor
    gradient: Tensor
    slope: Tensor
    offset: Tensor


def _train_models(models: list[_Model], alpha: float, beta: float, lr: float) -> None:
    weights, gradients, slopes, offsets = ([*column] for column in zip(*models, strict=True))
    errors = torch._foreach_addcmul(offsets, slopes, weights)
    torch._foreach_neg_(errors)
    torch._foreach_add_(errors, gradients)
    torch._foreach_addcmul_(slopes, errors, weights, alpha)
    torch._foreach_add_(offsets, errors, alpha=beta)
    # The new estimate a w + b, written from the gradient: exact where alpha w^2 + beta = 1.
    estimates = torch._foreach_mul(weights, weights)
    torch._foreach_mul_(estimates, alpha)
    torch._foreach_add_(estimates, beta - 1)
    torch._foreach_mul_(estimates, errors)
    torch._foreach_add_(estimates, gradients)
    torch._foreach_add_(weights, estimates, alpha=-lr)
