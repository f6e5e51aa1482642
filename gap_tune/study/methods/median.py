"""Median: random search that stops trials below the median of the others."""

from __future__ import annotations

from dataclasses import dataclass

from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from gap_tune.study.methods.base import SearchTask
from gap_tune.study.methods.sampling import REDUCTION, Sampling


@dataclass(frozen=True)
class Median(Sampling):
    """Random search with the median stopping rule."""

    name = "median"
    stops_early = True

    def stopping(self, task: SearchTask) -> TrialScheduler:
        """Return Ray's median stopping rule."""
        epochs = float(task.conditions.epochs)
        return MedianStoppingRule(time_attr="epoch", grace_period=epochs / REDUCTION**2)
