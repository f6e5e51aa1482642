"""TRAINING_FAMILIES: what a trial can train with, one row for each.

A family is a row of this table; those without momentum to tune are arms of a study by their names.
"""

from __future__ import annotations

from typing import Any

from gap_tune.errors import InvalidValueError
from gap_tune.training.families.base import OptimizerFamily, Range

DEFAULT_FAMILY = "sgd"

_MOMENTUM = Range(0.0, 0.99)
_AVERAGING_MOMENTUM = Range(0.5, 0.99)
_BETA2 = Range(0.9, 0.999)
# The paper compares single steps: smoothing 0.
_SWITCH: dict[str, Any] = {
    "ranges": {"smoothing": Range(0.0, 0.95)},
    "defaults": {"smoothing": 0.0},
}
# Stable while alpha |w|^2 + beta < 2; the weights of a network have |w|^2 in the hundreds.
_TRAINABLE: dict[str, Any] = {
    "ranges": {"alpha": Range(1e-6, 1e-3, logarithmic=True), "beta": Range(0.02, 1.0)},
    "defaults": {"alpha": 1e-4, "beta": 0.1},
}
# An isotropic operator of budget B is sqrt(B/d): about 1 for the small networks here.
_BUDGET: dict[str, Any] = {
    "ranges": {"B": Range(1e2, 1e6, logarithmic=True), "decay": Range(0.5, 0.99)},
    "defaults": {"B": 1e4, "decay": 0.9},
}
# A full operator takes d^2 numbers.
_DIAGONAL_BLOCKS = {"structure": "diagonal"}

TRAINING_FAMILIES: dict[str, OptimizerFamily] = {
    family.name: family
    for family in (
        OptimizerFamily(
            DEFAULT_FAMILY,
            "torch.optim.SGD",
            ranges={"momentum": _MOMENTUM},
            defaults={"momentum": 0.9},
            has_momentum=True,
        ),
        OptimizerFamily(
            "adamw",
            "torch.optim.AdamW",
            # Its momentum is beta1.
            ranges={"momentum": _MOMENTUM, "beta2": _BETA2},
            defaults={"momentum": 0.9, "beta2": 0.999},
            betas=("momentum", "beta2"),
            has_momentum=True,
        ),
        OptimizerFamily("trainable-diagonal", "gap_tune.optim.DiagonalTO", **_TRAINABLE),
        OptimizerFamily("trainable-full", "gap_tune.optim.FullTO", **_TRAINABLE),
        OptimizerFamily("trainable-rank-one", "gap_tune.optim.RankOneTO", **_TRAINABLE),
        OptimizerFamily(
            "budget-frobenius",
            "gap_tune.optim.FrobeniusOptimizer",
            **_BUDGET,
            arguments=_DIAGONAL_BLOCKS,
        ),
        OptimizerFamily(
            "budget-data-metric",
            "gap_tune.optim.DataMetricOptimizer",
            **_BUDGET,
            arguments=_DIAGONAL_BLOCKS,
        ),
        OptimizerFamily(
            "budget-spectral",
            "gap_tune.optim.SpectralOptimizer",
            ranges={
                "tau": Range(1e2, 1e5, logarithmic=True),
                "lam": Range(0.1, 10.0, logarithmic=True),
            },
            defaults={"tau": 1e4, "lam": 1.0},
            # Sorting the spectrum at every step would cost more than the gradient.
            arguments={**_DIAGONAL_BLOCKS, "update_every": 16},
        ),
        OptimizerFamily("budget-diagonal", "gap_tune.optim.DiagonalOptimizer", **_BUDGET),
        OptimizerFamily(
            "switch",
            "gap_tune.optim.SwitchSGD",
            **_SWITCH,
            arguments={"per_parameter": False},
            like="sgd",
        ),
        OptimizerFamily(
            "switch-parameter",
            "gap_tune.optim.SwitchSGD",
            **_SWITCH,
            arguments={"per_parameter": True},
            like="sgd",
        ),
        OptimizerFamily(
            "switch-adamw",
            "gap_tune.optim.SwitchAdamW",
            **_SWITCH,
            arguments={"per_parameter": False},
            like="adamw",
        ),
        OptimizerFamily(
            "switch-adamw-parameter",
            "gap_tune.optim.SwitchAdamW",
            **_SWITCH,
            arguments={"per_parameter": True},
            like="adamw",
        ),
        # Its learning rate is a factor on what it finds itself.
        OptimizerFamily("yellowfin", "gap_tune.optim.YellowFin", like="sgd", lr=1.0),
        OptimizerFamily(
            "hypergradient",
            "gap_tune.optim.HypergradientSGD",
            ranges={
                "momentum": _MOMENTUM,
                "hypergrad_lr": Range(1e-6, 1e-2, logarithmic=True),
            },
            defaults={"momentum": 0.9, "hypergrad_lr": 1e-3},
            like="sgd",
        ),
        OptimizerFamily(
            "schedulefree",
            "pytorch_optimizer.ScheduleFreeSGD",
            ranges={"momentum": _AVERAGING_MOMENTUM},
            defaults={"momentum": 0.9},
            like="sgd",
            # Its steps are not summed up by momentum, so that they are as long as those of SGD at
            # 0.9 with ten times the learning rate; the authors recommend 10 to 50 times.
            lr_factor=10.0,
            schedule="none",
        ),
        OptimizerFamily(
            "schedulefree-adamw",
            "pytorch_optimizer.ScheduleFreeAdamW",
            ranges={"momentum": _AVERAGING_MOMENTUM, "beta2": _BETA2},
            defaults={"momentum": 0.9, "beta2": 0.999},
            betas=("momentum", "beta2"),
            like="adamw",
            schedule="none",
        ),
        OptimizerFamily(
            "prodigy",
            "pytorch_optimizer.Prodigy",
            ranges={"d_coef": Range(0.1, 10.0, logarithmic=True)},
            defaults={"d_coef": 1.0},
            like="adamw",
            lr=1.0,
        ),
        OptimizerFamily(
            "adai",
            "pytorch_optimizer.Adai",
            ranges={"beta0": Range(0.01, 0.5, logarithmic=True), "beta2": _BETA2},
            defaults={"beta0": 0.1, "beta2": 0.99},
            betas=("beta0", "beta2"),
            like="sgd",
            # Its momentum averages gradients instead of summing them up: 1 for SGD's 0.1, as
            # published.
            lr_factor=10.0,
        ),
    )
}

# What ``--family`` takes: a study has one of them for all arms that are no optimizer themselves.
BASE_FAMILIES = tuple(name for name, family in TRAINING_FAMILIES.items() if family.has_momentum)


def get_family(name: str) -> OptimizerFamily:
    """Return the family of that name.

    Raises:
        InvalidValueError: When there is none.

    >>> sorted(get_family("trainable-diagonal").space)
    ['alpha', 'beta']
    """
    if name not in TRAINING_FAMILIES:
        raise InvalidValueError(
            f"family must be one of {sorted(TRAINING_FAMILIES)}, but got {name!r}."
        )
    return TRAINING_FAMILIES[name]
