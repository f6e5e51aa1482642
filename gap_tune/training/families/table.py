"""Optimizer families: what a study's arm trains with, and the space to search it in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ray import tune

from gap_tune import optim
from gap_tune.errors import InvalidValueError
from gap_tune.training.families.base import OptimizerFamily
from gap_tune.training.families.baselines import BASELINES

__all__ = ["DEFAULT_FAMILY", "FAMILIES", "OptimizerFamily", "get_family"]

DEFAULT_FAMILY = "sgd"


def _adamw(parameters: Any, *, momentum: float, beta2: float, **rest: Any) -> torch.optim.Optimizer:
    """Return AdamW, whose momentum is beta1."""
    return torch.optim.AdamW(parameters, betas=(momentum, beta2), **rest)


def _trainable(name: str, optimizer: Callable[..., torch.optim.Optimizer]) -> OptimizerFamily:
    return OptimizerFamily(
        name,
        optimizer,
        # Stable while alpha |w|^2 + beta < 2; the weights of a network have |w|^2 in the hundreds.
        space={"alpha": tune.loguniform(1e-6, 1e-3), "beta": tune.uniform(0.02, 1.0)},
        defaults={"alpha": 1e-4, "beta": 0.1},
    )


def _budget(
    name: str, optimizer: Callable[..., torch.optim.Optimizer], **arguments: Any
) -> OptimizerFamily:
    # An isotropic operator of budget B is sqrt(B/d): about 1 for the small networks here.
    return OptimizerFamily(
        name,
        optimizer,
        space={"B": tune.loguniform(1e2, 1e6), "decay": tune.uniform(0.5, 0.99)},
        defaults={"B": 1e4, "decay": 0.9},
        arguments=arguments,
    )


FAMILIES: dict[str, OptimizerFamily] = {
    family.name: family
    for family in (
        OptimizerFamily(
            DEFAULT_FAMILY,
            torch.optim.SGD,
            space={"momentum": tune.uniform(0.0, 0.99)},
            defaults={"momentum": 0.9},
            has_momentum=True,
        ),
        OptimizerFamily(
            "adamw",
            _adamw,
            space={"momentum": tune.uniform(0.0, 0.99), "beta2": tune.uniform(0.9, 0.999)},
            defaults={"momentum": 0.9, "beta2": 0.999},
            has_momentum=True,
        ),
        _trainable("trainable-diagonal", optim.DiagonalTO),
        _trainable("trainable-full", optim.FullTO),
        _trainable("trainable-rank-one", optim.RankOneTO),
        # Diagonal blocks: a full operator takes d^2 numbers.
        _budget("budget-frobenius", optim.FrobeniusOptimizer, structure="diagonal"),
        _budget("budget-data-metric", optim.DataMetricOptimizer, structure="diagonal"),
        OptimizerFamily(
            "budget-spectral",
            optim.SpectralOptimizer,
            space={"tau": tune.loguniform(1e2, 1e5), "lam": tune.loguniform(0.1, 10.0)},
            defaults={"tau": 1e4, "lam": 1.0},
            # Sorting the spectrum at every step would cost more than the gradient.
            arguments={"structure": "diagonal", "update_every": 16},
        ),
        _budget("budget-diagonal", optim.DiagonalOptimizer),
        *BASELINES,
    )
}


def get_family(name: str) -> OptimizerFamily:
    """Return the family of that name.

    Raises:
        InvalidValueError: When there is none.

    >>> sorted(get_family("trainable-diagonal").space)
    ['alpha', 'beta']
    """
    if name not in FAMILIES:
        raise InvalidValueError(f"family must be one of {sorted(FAMILIES)}, but got {name!r}.")
    return FAMILIES[name]
