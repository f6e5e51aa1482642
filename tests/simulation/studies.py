"""The studies that are run both on Ray and on a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapScheduler, GapSearch
from tests.simulation.noisy_quadratic import NoisyQuadratic

_RATES = {"lr": tune.loguniform(1e-3, 0.3)}


@dataclass(frozen=True)
class Study:
    """What a study is made of; its parts anew for each run of it.

    Attributes:
        name: What it is called.
        task: What its trials train.
        search: Makes the searcher, or Ray's own generator of variants.
        scheduler: Makes the scheduler.
        trials: How many trials.
        space: What is searched.
        failures: How often a trial may fail and go on from its checkpoint.
        at_once: What the study asks of Ray (``max_concurrent_trials``); None leaves it to the
            machine, and then Ray starts one trial's process after another.
        together: How many trials run at once; the first of them begin together.
    """

    name: str
    task: NoisyQuadratic
    search: Callable[[], Searcher | BasicVariantGenerator]
    scheduler: Callable[[], TrialScheduler]
    trials: int = 24
    space: Mapping[str, Any] = field(default_factory=lambda: dict(_RATES))
    failures: int = 0
    at_once: int | None = 8
    together: int = 8

    def seed(self) -> None:
        """Seed the chance that Ray's own searcher and schedulers take from everywhere."""
        random.seed(18)
        np.random.seed(18)


class RepeatablePBT(PopulationBasedTraining):
    """Draws for each result anew, so that what it draws depends on nothing else that draws."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        random.seed(f"{result['training_iteration']} {result['validation_loss']}")
        # Ray's distributions draw from NumPy's numbers.
        np.random.seed(random.getrandbits(32))
        action: str = super().on_trial_result(tune_controller, trial, result)
        return action


def studies(folder: Path, *, seconds: float = 0.2) -> list[Study]:
    """Return the studies.

    Args:
        folder: For what says that a trial has failed.
        seconds: What a report takes on average.
    """
    task = NoisyQuadratic(seconds=seconds)
    failing = NoisyQuadratic(seconds=seconds, fails=folder)
    return [
        Study("gap-fifo", task, gap_random, GapScheduler),
        Study("gap-asha", task, gap_random, lambda: GapScheduler(asha()), trials=32),
        Study("gap-one-ahead", task, gap_random, lambda: GapScheduler(asha()), at_once=None),
        Study(
            "optuna-asha",
            task,
            lambda: OptunaSearch(seed=18),
            asha,
            trials=32,
            space={**_RATES, "momentum": tune.uniform(0.5, 0.99)},
        ),
        Study("gap-median", task, gap_random, lambda: GapScheduler(median())),
        Study(
            "pbt",
            task,
            lambda: BasicVariantGenerator(random_state=18),
            pbt,
            trials=8,
            space={**_RATES, "momentum": tune.uniform(0.5, 0.99)},
        ),
        Study("gap-compared", task, gap_compared, lambda: GapScheduler(asha()), trials=24),
        Study(
            "limited-failing",
            failing,
            limited,
            GapScheduler,
            trials=12,
            failures=1,
            at_once=None,
            together=4,
        ),
    ]


def gap_random() -> Searcher:
    return GapSearch({"name": "random", "seed": 18})


def gap_compared() -> Searcher:
    return GapSearch({"name": "random", "seed": 18}, baselines=(0.5, 0.9), seeds=2)


def limited() -> Searcher:
    return ConcurrencyLimiter(GapSearch({"name": "tpe", "seed": 18}), max_concurrent=4)


def asha() -> TrialScheduler:
    return ASHAScheduler(grace_period=2, reduction_factor=2, max_t=8)


def median() -> TrialScheduler:
    return MedianStoppingRule(
        time_attr="training_iteration", grace_period=2, min_samples_required=3
    )


def pbt() -> TrialScheduler:
    return RepeatablePBT(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.loguniform(1e-3, 0.3)},
        quantile_fraction=0.25,
    )


def fifo() -> TrialScheduler:
    return FIFOScheduler()
