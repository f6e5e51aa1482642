"""TRAINING_FAMILIES: what a trial can train with, one row for each.

A family is a row of this table; those without momentum to tune are arms of a study by their names.
Optimizers of other papers, to compare with, are rows of ``rivals.py``.
"""

from __future__ import annotations

from typing import Any

from gap_tune.errors import InvalidValueError, did_you_mean
from gap_tune.training.families.base import BETA2, MOMENTUM, OptimizerFamily, Range
from gap_tune.training.families.rivals import RIVALS

DEFAULT_FAMILY = "sgd"

_GAP = "arXiv 2512.06370"
_TRAINABLE_OPTIMIZER = "arXiv 2508.01764"
# The paper compares single steps: smoothing 0.
_SWITCH: dict[str, Any] = {
    "ranges": {"smoothing": Range(0.0, 0.95)},
    "defaults": {"smoothing": 0.0},
    "source": _GAP,
}
# Stable while alpha |w|^2 + beta < 2; the weights of a network have |w|^2 in the hundreds.
_TRAINABLE: dict[str, Any] = {
    "ranges": {"alpha": Range(1e-6, 1e-3, logarithmic=True), "beta": Range(0.02, 1.0)},
    "defaults": {"alpha": 1e-4, "beta": 0.1},
    "source": _TRAINABLE_OPTIMIZER,
}
# An isotropic operator of budget B is sqrt(B/d): about 1 for the small networks here.
_BUDGET: dict[str, Any] = {
    "ranges": {"B": Range(1e2, 1e6, logarithmic=True), "decay": Range(0.5, 0.99)},
    "defaults": {"B": 1e4, "decay": 0.9},
    "source": _GAP,
}
# A full operator takes d^2 numbers.
_DIAGONAL_BLOCKS = {"structure": "diagonal"}

TRAINING_FAMILIES: dict[str, OptimizerFamily] = {
    family.name: family
    for family in (
        OptimizerFamily(
            DEFAULT_FAMILY,
            "torch.optim.SGD",
            ranges={"momentum": MOMENTUM},
            defaults={"momentum": 0.9},
            has_momentum=True,
        ),
        OptimizerFamily(
            "adamw",
            "torch.optim.AdamW",
            # Its momentum is beta1.
            ranges={"momentum": MOMENTUM, "beta2": BETA2},
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
            source=_GAP,
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
        *RIVALS,
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
            + did_you_mean(name, TRAINING_FAMILIES)
        )
    return TRAINING_FAMILIES[name]
