"""Median: random search that stops trials below the median of the others."""

from __future__ import annotations

import math
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
        clock = task.conditions.clock
        return MedianStoppingRule(
            time_attr=clock.time_attr,
            grace_period=clock.length / REDUCTION**2,
            # Too few to compare with, it pauses trials so that others catch up. One without a
            # checkpoint would begin again.
            min_time_slice=0 if clock.pauses else math.inf,
        )
