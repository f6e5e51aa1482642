"""Runs with made-up losses, as lines of a journal."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

INITIAL = 2.3
SEEDS = 4
RATES = (0.01, 0.1, 1.0)


def note(*settings: str) -> dict[str, Any]:
    told = [
        {
            "name": name,
            "workload": "digits-mlp",
            "options": {"label_noise": 0.1},
            "family": "sgd",
            "batch_size": 64,
            "epochs": 2,
        }
        for name in settings
    ]
    return {
        "settings": told,
        "seeds": SEEDS,
        "rule": "AlignmentRule()",
        "command": "gap-tune panel --out '<b>'",
        "versions": {"torch": "2.15.0"},
    }


def rows(
    settings: tuple[str, ...],
    arms: tuple[str, ...],
    loss: Callable[[str, str, int, int], tuple[float | None, float | None]],
) -> list[dict[str, Any]]:
    """Return a line per run; ``loss(setting, arm, rate, seed)`` gives validation and test loss.

    None is a run that diverged.
    """
    return [
        _row(setting, arm, rate, seed, *loss(setting, arm, rate, seed))
        for seed, rate, setting, arm in itertools.product(
            range(SEEDS), range(len(RATES)), settings, arms
        )
    ]


def _row(
    setting: str, arm: str, rate: int, seed: int, validation: float | None, test: float | None
) -> dict[str, Any]:
    return {
        "setting": setting,
        "arm": arm,
        "rate": rate,
        "seed": seed,
        "lr": RATES[rate],
        "status": "diverged" if test is None else "finished",
        "error": "",
        "validation_loss": validation,
        "test_loss": test,
        "initial_validation_loss": INITIAL,
        "initial_test_loss": INITIAL,
        "steps": 100,
        "seconds": 0.2 if arm.startswith("fixed:") else 0.3,
        "undecided": 0,
        "momenta": [0.9, 0.8, 0.95],
    }
