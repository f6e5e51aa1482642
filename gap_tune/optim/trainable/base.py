"""What the three trainable optimizers share: the method, its options and its schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from torch.optim.optimizer import ParamsT

from gap_tune.errors import InvalidValueError, check_range
from gap_tune.optim.group_optimizer import GroupOptimizer


class TrainableOptions(TypedDict, total=False):
    """Keyword arguments of every trainable optimizer; ``TrainableOptimizer`` has their defaults."""

    alpha_decay: float
    beta_decay: float
    weight_decay: float
    maximize: bool


class TrainableOptimizer(GroupOptimizer):
    r"""Trains ``A w + b`` to be the gradient at ``w``, and steps along it.

    With the minibatch gradient ``g_t`` at the weights ``w_t`` (L2 weight decay included), one step
    is gradient descent on the approximation loss ``1/2 ||g_t - A w_t - b||^2``, followed by
    gradient descent on the weights along the improved estimate::

        e_t     = g_t - A_t w_t - b_t
        A_{t+1} = A_t + alpha_t P(e_t w_t^T)          P: onto the structure of A
        b_{t+1} = b_t + beta_t e_t
        G_t     = A_{t+1} w_t + b_{t+1}
        w_{t+1} = w_t - lr_t G_t

    Subclasses choose the structure of A, write this step in ``_train`` and may have options of
    their own.
    """

    def __init__(
        self,
        params: ParamsT,
        own: Mapping[str, bool | int],
        lr: float,
        alpha: float,
        beta: float,
        *,
        alpha_decay: float = 1.0,
        beta_decay: float = 1.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            **own,
            "lr": lr,
            "alpha": alpha,
            "beta": beta,
            "alpha_decay": alpha_decay,
            "beta_decay": beta_decay,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def _check_options(self, options: dict[str, Any]) -> None:
        for name in ("lr", "alpha", "weight_decay"):
            check_range(name, options[name], 0, math.inf, high_open=True)
        check_range("beta", options["beta"], 0, 1)
        for name in ("alpha_decay", "beta_decay"):
            check_range(name, options[name], 0, 1, low_open=True)
        if options["alpha"] == options["beta"] == 0:
            raise InvalidValueError(
                "alpha and beta must not both be 0, because the gradient estimate would stay zero."
            )

    def _update(self, group: dict[str, Any]) -> None:
        alpha = group["alpha"] * group["alpha_decay"] ** group["steps"]
        beta = group["beta"] * group["beta_decay"] ** group["steps"]
        self._train(group, alpha, beta)

    def _train(self, group: dict[str, Any], alpha: float, beta: float) -> None:
        """Take the step of the class docstring with this step's alpha and beta."""
        raise NotImplementedError
