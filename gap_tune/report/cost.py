"""Cost: what arms spent, in trials, optimizer steps and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gap_tune.records.records import Records

ENDS = ("finished", "stopped", "failed", "unfinished")


@dataclass(frozen=True)
class Cost:
    """What one arm spent, or several together.

    Attributes:
        trials: How many trials were started.
        ended: How many are in each state of ``Records.trials``.
        steps: Optimizer steps of all of them.
        seconds: Their times added up.
        seeds: On how many seeds they were.
    """

    trials: int
    ended: Mapping[str, int]
    steps: int
    seconds: float
    seeds: int

    @classmethod
    def of(cls, records: Records, arms: Sequence[str]) -> Cost:
        """Return what arms spent."""
        ended = {status: len(records.trials_with(status, arms)) for status in ENDS}
        if records.trials.empty:
            return cls(0, ended, 0, 0.0, 0)
        own = records.trials[records.trials["arm"].isin(list(arms))]
        return cls(
            # A run that failed before it had a trial has a row, but no trial's name.
            trials=int((own["trial_id"] != "").sum()),
            ended=ended,
            steps=int(own["steps"].sum()),
            seconds=float(pd.to_numeric(own["seconds"]).sum()),
            seeds=int(own["seed"].nunique()),
        )
