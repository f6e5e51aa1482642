"""The decisions of tuned trials, read back from what the trials reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.errors import StateError
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.records.records import Records
from gap_tune.tune import keys
from gap_tune.tune.statistics_json import parse_one


@dataclass(frozen=True)
class DecisionRun:
    """One decision, or several in a row that kept the momentum for the same reason.

    Attributes:
        first_step: Optimizer step after which the first of them took effect.
        last_step: The same of the last.
        epoch: Epoch of the first, NaN when trials report none.
        previous: Momentum before.
        momentum: Momentum after.
        reason: The guard or comparison that decided.
        explanation: The last one's sentence.
        count: How many decisions there are.
    """

    first_step: int
    last_step: int
    epoch: float
    previous: float
    momentum: float
    reason: str
    explanation: str
    count: int = 1

    @property
    def changed(self) -> bool:
        """Whether the momentum changed."""
        return self.momentum != self.previous


@dataclass(frozen=True)
class TunedTrial:
    """A trial whose momentum gap_tune may change, with its reports in order."""

    arm: str
    seed: int
    trial_id: str
    rows: pd.DataFrame
    unit: str = "seed"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.arm}, {self.unit} {self.seed}"

    def decisions(self) -> list[DecisionRun]:
        """Return the decisions, runs of the same unchanged one as one."""
        runs: list[DecisionRun] = []
        for run in self._each_decision():
            last = runs[-1] if runs else None
            if last is not None and _continues(last, run):
                runs[-1] = replace(
                    last,
                    last_step=run.last_step,
                    explanation=run.explanation,
                    count=last.count + 1,
                )
            else:
                runs.append(run)
        return runs

    def judged(self, most: int) -> list[tuple[int, AlignmentStatistics, float]]:
        """Return ``(step, statistics, momentum chosen from them)`` of evenly spread decisions.

        Args:
            most: How many to return at most; statistics that cannot be read are left out.
        """
        decided = list(self._decided())
        places = np.linspace(0, len(decided) - 1, min(most, len(decided))).round().astype(int)
        found = []
        for before, after in (decided[place] for place in places):
            with suppress(StateError):
                statistics = parse_one(before.get(keys.STATISTICS))
                found.append((int(before[keys.STEPS]), statistics, float(after[keys.MOMENTUM])))
        return found

    def _each_decision(self) -> Iterator[DecisionRun]:
        for before, after in self._decided():
            step = int(before[keys.STEPS])
            told = after if _decides_itself(after) else before
            yield DecisionRun(
                first_step=step,
                last_step=step,
                epoch=float(before.get("epoch", np.nan)),
                previous=float(before[keys.MOMENTUM]),
                momentum=float(after[keys.MOMENTUM]),
                reason=_text(told.get(keys.REASON)),
                explanation=_text(told.get(keys.DECISION)),
            )

    def _decided(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield the reports before and after each decision.

        The scheduler's decision on a report shows in it, and its effect in the next one; what a
        trial decides itself shows when the number of changes has grown.
        """
        reports = self.rows.to_dict("records")
        for i, (before, after) in enumerate(pairwise(reports)):
            grown = after[keys.SEQ] > before[keys.SEQ]
            if grown if _decides_itself(after) else _text(before.get(keys.REASON)):
                # Nothing trained with it until the first report that tells of further steps.
                later = (r for r in reports[i + 1 :] if r[keys.STEPS] > before[keys.STEPS])
                yield before, next(later, after)


def _decides_itself(report: Mapping[str, Any]) -> bool:
    return bool(report.get(keys.MODE) == keys.MODE_TRIAL)


def _text(value: Any) -> str:
    """Return a report's text; nothing for what an empty field of a table became."""
    return value if isinstance(value, str) else ""


def tuned_trials(records: Records) -> list[TunedTrial]:
    """Return the trials of arms that are not fixed and that report momentum, in study order."""
    needed = [keys.MOMENTUM, keys.SEQ, keys.STEPS]
    results = records.results
    if not {"arm", "seed", "trial_id", *needed} <= set(results.columns):
        return []
    tuned = results[~results["arm"].isin(records.fixed_arms)].copy()
    tuned[needed] = tuned[needed].apply(pd.to_numeric, errors="coerce")
    tuned = tuned.dropna(subset=needed)
    groups = tuned.groupby(["arm", "seed", "trial_id"], sort=False)
    return [
        TunedTrial(str(arm), seed, str(trial), rows, records.unit)
        for (arm, seed, trial), rows in groups
    ]


def _continues(last: DecisionRun, run: DecisionRun) -> bool:
    kept = not last.changed and not run.changed and last.momentum == run.momentum
    return kept and last.reason == run.reason
