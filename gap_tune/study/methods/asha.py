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
        epochs = float(task.conditions.epochs)
        return ASHAScheduler(
            time_attr="epoch",
            max_t=epochs,
            grace_period=epochs / REDUCTION**2,
            reduction_factor=REDUCTION,
        )
