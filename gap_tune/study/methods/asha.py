"""ASHA: random search that stops the worse part of its trials again and again."""

from __future__ import annotations

from dataclasses import dataclass

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from gap_tune.study.methods.base import SearchTask
from gap_tune.study.methods.sampling import REDUCTION, Sampling


@dataclass(frozen=True)
class ASHA(Sampling):
    """Random search with asynchronous successive halving: a third of the trials goes on, twice."""

    name = "asha"
    stops_early = True

    def stopping(self, task: SearchTask) -> TrialScheduler:
        """Return Ray's ASHA."""
        clock = task.conditions.clock
        return ASHAScheduler(
            time_attr=clock.time_attr,
            max_t=float(clock.length),
            grace_period=clock.length / REDUCTION**2,
            reduction_factor=REDUCTION,
        )
