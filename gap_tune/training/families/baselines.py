"""Families of other methods that tune themselves: what gap_tune is compared with."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from ray import tune

from gap_tune import optim
from gap_tune.errors import UnsupportedError
from gap_tune.training.families.base import OptimizerFamily


def _other(name: str) -> Callable[..., torch.optim.Optimizer]:
    """Return what makes the optimizer of that name in ``pytorch_optimizer``, found when needed."""

    def make(parameters: Any, **arguments: Any) -> torch.optim.Optimizer:
        try:
            package = import_module("pytorch_optimizer")
        except ImportError as error:
            raise UnsupportedError(
                f"{name} must find pytorch_optimizer: pip install 'gap-tune[baselines]', "
                f"but got: {error}."
            ) from None
        optimizer: torch.optim.Optimizer = getattr(package, name)(parameters, **arguments)
        return optimizer

    return make


def _with_betas(
    make: Callable[..., torch.optim.Optimizer], first: str
) -> Callable[..., torch.optim.Optimizer]:
    """Return ``make`` with the first of its betas as an argument of that name, and beta2."""

    def with_betas(parameters: Any, **arguments: Any) -> torch.optim.Optimizer:
        betas = (arguments.pop(first), arguments.pop("beta2"))
        return make(parameters, betas=betas, **arguments)

    return with_betas


def _switch(
    name: str, optimizer: Callable[..., torch.optim.Optimizer], like: str, *, per_parameter: bool
) -> OptimizerFamily:
    return OptimizerFamily(
        name,
        optimizer,
        # The paper compares single steps: smoothing 0.
        space={"smoothing": tune.uniform(0.0, 0.95)},
        defaults={"smoothing": 0.0},
        arguments={"per_parameter": per_parameter},
        like=like,
    )


BASELINES = (
    _switch("switch", optim.SwitchSGD, "sgd", per_parameter=False),
    _switch("switch-parameter", optim.SwitchSGD, "sgd", per_parameter=True),
    _switch("switch-adamw", optim.SwitchAdamW, "adamw", per_parameter=False),
    _switch("switch-adamw-parameter", optim.SwitchAdamW, "adamw", per_parameter=True),
    # Its learning rate is a factor on what it finds itself.
    OptimizerFamily("yellowfin", optim.YellowFin, space={}, defaults={}, like="sgd", lr=1.0),
    OptimizerFamily(
        "hypergradient",
        optim.HypergradientSGD,
        space={
            "momentum": tune.uniform(0.0, 0.99),
            "hypergrad_lr": tune.loguniform(1e-6, 1e-2),
        },
        defaults={"momentum": 0.9, "hypergrad_lr": 1e-3},
        like="sgd",
    ),
    OptimizerFamily(
        "schedulefree",
        _other("ScheduleFreeSGD"),
        space={"momentum": tune.uniform(0.5, 0.99)},
        defaults={"momentum": 0.9},
        like="sgd",
        # Its steps are not summed up by momentum, so that they are as long as those of SGD at 0.9
        # with ten times the learning rate; the authors recommend 10 to 50 times.
        lr_factor=10.0,
        schedule="none",
    ),
    OptimizerFamily(
        "schedulefree-adamw",
        _with_betas(_other("ScheduleFreeAdamW"), "momentum"),
        space={"momentum": tune.uniform(0.5, 0.99), "beta2": tune.uniform(0.9, 0.999)},
        defaults={"momentum": 0.9, "beta2": 0.999},
        like="adamw",
        schedule="none",
    ),
    OptimizerFamily(
        "prodigy",
        _other("Prodigy"),
        space={"d_coef": tune.loguniform(0.1, 10.0)},
        defaults={"d_coef": 1.0},
        like="adamw",
        lr=1.0,
    ),
    OptimizerFamily(
        "adai",
        _with_betas(_other("Adai"), "beta0"),
        space={"beta0": tune.loguniform(0.01, 0.5), "beta2": tune.uniform(0.9, 0.999)},
        defaults={"beta0": 0.1, "beta2": 0.99},
        like="sgd",
        # Its momentum averages gradients instead of summing them up: 1 for SGD's 0.1, as published.
        lr_factor=10.0,
    ),
)
