"""Sampling: searches in which optuna suggests every trial, and a scheduler may stop it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune.study.methods.base import USUAL_MOMENTUM, Search, SearchMethod, SearchTask
from gap_tune.study.methods.spending import WithinSteps
from gap_tune.tune import GapScheduler, GapSearch

# Successive halving keeps a third of the trials. Nothing is stopped before a ninth of a full trial.
REDUCTION = 3


@dataclass(frozen=True)
class Sampling(SearchMethod):
    """Searches learning rate and momentum by a sampler of optuna's, and may stop trials early.

    The first trial is the recipe's learning rate with momentum 0.9.
    """

    def sampler(self, task: SearchTask) -> optuna.samplers.BaseSampler:
        """Return what suggests trials: at random, unless a method has something better."""
        return optuna.samplers.RandomSampler(seed=task.seed)

    def stopping(self, task: SearchTask) -> TrialScheduler | None:
        """Return what stops trials, by the study's clock."""
        return None

    def momentum(self, task: SearchTask) -> tuple[Any, float]:
        """Return the domain of momentum, None where it is not searched, and where to begin."""
        return task.family_momentum(), USUAL_MOMENTUM

    def search(self, task: SearchTask) -> Search:
        """Return the search; momentum of arms that gap_tune tunes is supplied by ``GapSearch``."""
        space, first = task.space(*self.momentum(task))
        searcher: Searcher = OptunaSearch(
            sampler=self.sampler(task), points_to_evaluate=[first] if first else None
        )
        if task.arm.is_tuned(task.conditions.family):
            searcher = GapSearch(searcher, momentum=task.conditions.momentum)
        if task.full_trials is not None:
            clock = task.conditions.clock
            searcher = WithinSteps(
                searcher, task.full_trials, clock.length, time_attr=clock.time_attr
            )
        return Search(space, task.trials, searcher, GapScheduler(self.stopping(task)))
