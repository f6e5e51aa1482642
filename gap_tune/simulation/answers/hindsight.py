"""Hindsight: what every fixed momentum ends with at every learning rate, which no user knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gap_tune.errors import StateError
from gap_tune.report.evidence.paired import PairedDifference
from gap_tune.simulation.answers.outcome import Floats
from gap_tune.simulation.answers.setting import LR, MOMENTUM, SEED, TEST, Setting
from gap_tune.simulation.task import Report, Task
from gap_tune.tune import GapScheduler, keys


@dataclass(frozen=True, eq=False)
class Hindsight:
    """A setting's fixed momenta, each trained to its end at every learning rate and seed.

    Attributes:
        validation: Momenta by learning rates by seeds; infinite where a run failed.
        test: The same of test losses; ``ceiling`` at most, also where a run failed.
        ceiling: By seed, what a trial counts as that failed or is worse: the test loss of the
            untrained model; where nobody knows that, the highest one after the first report at the
            smallest learning rate.
    """

    validation: Floats
    test: Floats
    ceiling: Floats

    @classmethod
    def of(cls, setting: Setting) -> Hindsight:
        """Train them.

        Raises:
            StateError: When every run failed, so that there is nothing to compare with.
        """
        rates = setting.grid(setting.rates)
        shape = len(setting.momenta), len(rates), len(setting.seeds)
        validation, test = np.full(shape, np.inf), np.full(shape, np.nan)
        first = np.full((shape[0], shape[2]), np.nan)
        for place in np.ndindex(*shape):
            momentum, rate, seed = (
                values[i]
                for values, i in zip((setting.momenta, rates, setting.seeds), place, strict=True)
            )
            config = {LR: rate, MOMENTUM: momentum, SEED: seed}
            reports = to_the_end(setting.task, config)
            losses = [losses_of(setting.task, report) for report in reports]
            if place[1] == 0:
                first[place[0], place[2]] = losses[0][1]
            if np.isfinite(losses[-1]).all():
                validation[place], test[place] = losses[-1]
        if not np.isfinite(validation).any():
            raise StateError(
                f"a run of {setting.name} must end with a finite loss, but got none at any "
                "learning rate and momentum."
            )
        known = setting.untrained
        ceiling = _ceiling(first, test) if known is None else np.array(known)
        return cls(validation, np.fmin(test, ceiling), ceiling)

    @property
    def best(self) -> tuple[int, int]:
        """Places of the momentum and learning rate of lowest mean validation loss."""
        return self._tuned(self.validation.mean(axis=-1))

    @property
    def reference(self) -> Floats:
        """Test losses of that cell, by seed."""
        found: Floats = self.test[self.best]
        return found

    @property
    def worse(self) -> NDArray[np.bool_]:
        """Which momenta are significantly worse than the best, each at its best learning rate.

        By paired t tests at 5 % of test losses over the seeds. One that fails everywhere is worse.
        """
        means = self.validation.mean(axis=-1)
        rates = means.argmin(axis=1)
        best = pd.Series(self.reference)
        found = []
        for momentum, rate in enumerate(rates):
            if not np.isfinite(means[momentum, rate]):
                found.append(True)
                continue
            own = pd.Series(self.test[momentum, rate])
            # The 95 % interval lies above 0 where p < 5 %, and where seeds do not differ at all.
            found.append(PairedDifference.between(own, best, "min").interval[0] > 0)
        return np.array(found)

    def _tuned(self, means: Floats) -> tuple[int, int]:
        momentum, rate = np.unravel_index(int(means.argmin()), means.shape)
        return int(momentum), int(rate)


def to_the_end(
    task: Task, config: Mapping[str, Any], scheduler: GapScheduler | None = None
) -> list[Report]:
    """Return all reports of a configuration's training, up to one whose loss is not finite.

    Args:
        task: What to train.
        config: The configuration.
        scheduler: Whose decisions it follows; None leaves its momentum.
    """
    training = task.begin(config)
    reports = []
    while not training.done:
        report = training.advance()
        reports.append(report)
        if not np.isfinite(losses_of(task, report)[0]):
            break
        # A run that was recorded up to where it diverged has none from there on.
        observed = keys.STATISTICS in report.metrics
        if scheduler is not None and observed and not training.done:
            training.follow(scheduler.decide(report.metrics, config))
    return reports


def losses_of(task: Task, report: Report) -> tuple[float, float]:
    """Return what trials are compared by, and the test loss."""
    metrics: Mapping[str, Any] = report.metrics
    judged = float(metrics[task.metric])
    return judged, float(metrics.get(TEST, judged))


def _ceiling(first: Floats, test: Floats) -> Floats:
    """Return by seed what a failed trial counts as."""
    known = test[np.isfinite(test)]
    filled = np.where(np.isfinite(first), first, -np.inf).max(axis=0)
    found: Floats = np.where(np.isfinite(filled), filled, known.max())
    return found
