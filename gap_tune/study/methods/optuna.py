"""Optuna: searches by optuna's TPE, the tree-structured Parzen estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna

from gap_tune.study.methods.base import USUAL_MOMENTUM, SearchTask
from gap_tune.study.methods.sampling import Sampling

# Left to itself, TPE spends ten trials at random, however few there are.
_MOST_RANDOM_TRIALS = 10


@dataclass(frozen=True)
class Optuna(Sampling):
    """Optuna's TPE, which begins with half of its trials, at most ten, at random.

    >>> Optuna().trials, Optuna(16).trials
    (8, 16)
    """

    name = "optuna"

    def sampler(self, task: SearchTask) -> optuna.samplers.BaseSampler:
        """Return optuna's TPE."""
        trials = self.trials if task.trials is None else task.trials
        random_trials = min(_MOST_RANDOM_TRIALS, max(1, trials // 2))
        return optuna.samplers.TPESampler(seed=task.seed, n_startup_trials=random_trials)


@dataclass(frozen=True)
class LearningRates(Optuna):
    """Optuna's TPE on the learning rate alone: what arms without a search do with more trials."""

    name = "learning-rates"

    def momentum(self, task: SearchTask) -> tuple[Any, float]:
        """Return no domain: the arm has its momentum, or chooses it."""
        return None, USUAL_MOMENTUM
