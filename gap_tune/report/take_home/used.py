"""Momentum and learning rate as a trial used them, not as its configuration began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gap_tune.rules.schedule import MomentumSchedule
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys

Floats = NDArray[np.float64]

_LR_KEYS = ("lr", "learning_rate")


@dataclass(frozen=True)
class UsedMomentum:
    """The momentum of a trial over time.

    Attributes:
        start: What it trained with first.
        mean: Mean over optimizer steps.
        last: What it trained with last.
        changes: How often it changed.
    """

    start: float
    mean: float
    last: float
    changes: int

    @property
    def text(self) -> str:
        """It in words.

        >>> UsedMomentum(0.9, 0.947, 0.99, 12).text
        '0.9 at the start, 0.947 on the mean, 0.99 at the end; 12 changes'
        """
        if not self.changes and self.start == self.last:
            return f"{self.start:.4g} throughout"
        changes = f"{self.changes} change{'' if self.changes == 1 else 's'}"
        return (
            f"{self.start:.4g} at the start, {self.mean:.3g} on the mean, {self.last:.4g} at the "
            f"end; {changes}"
        )


@dataclass(frozen=True)
class UsedRate:
    """The learning rate of a trial over time.

    Attributes:
        set: What the configuration says: the optimizer was made with it.
        mean: Mean over optimizer steps of what was used; NaN where trials did not report it.
        low: The lowest of the trial's reports.
        high: The highest.
        last: What the last report tells.
        followed: Whether the trial reported what it used (``gap/lr``), with its own schedule and
            the coupling to momentum; else only the factor of the trust region is known, times which
            ``set`` is.
    """

    set: float
    mean: float
    low: float
    high: float
    last: float
    followed: bool

    @property
    def text(self) -> str:
        """It in words.

        >>> UsedRate(0.1, 0.12, 0.03, 0.24, 0.09, True).text
        'set to 0.1; used from 0.03 to 0.24, 0.12 on the mean, 0.09 at the end'
        """
        if self.low == self.high == self.set:
            return f"{self.set:.4g} throughout"
        how = "used" if self.followed else "used, its own schedule and coupling left aside,"
        return (
            f"set to {self.set:.4g}; {how} from {self.low:.3g} to {self.high:.3g}, "
            f"{self.mean:.3g} on the mean, {self.last:.3g} at the end"
        )


@dataclass(frozen=True, eq=False)
class Course:
    """What a trial reported of momentum and learning rate, report by report.

    Attributes:
        steps: Optimizer steps at each report.
        momenta: The momentum that trained until then.
        changes: How often momentum had changed.
        lrs: The learning rate in use; NaN where it was not reported.
        scales: The factor of the trust region; 1 where there is none.
    """

    steps: Floats
    momenta: Floats
    changes: int
    lrs: Floats
    scales: Floats

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Course | None:
        """Return the course of a trial's reports; None where they tell no momentum."""
        if not {keys.MOMENTUM, keys.STEPS} <= set(rows.columns):
            return None
        names = (keys.MOMENTUM, keys.STEPS, keys.SEQ, keys.LR, keys.SCALE)
        numbers = pd.DataFrame(
            {name: pd.to_numeric(rows.get(name), errors="coerce") for name in names if name in rows}
        ).dropna(subset=[keys.MOMENTUM, keys.STEPS])
        if numbers.empty:
            return None
        nothing = pd.Series(np.nan, numbers.index)
        seen = numbers.get(keys.SEQ, nothing).fillna(0).to_numpy(float)
        return cls(
            numbers[keys.STEPS].to_numpy(float),
            numbers[keys.MOMENTUM].to_numpy(float),
            int(seen[-1]),
            numbers.get(keys.LR, nothing).to_numpy(float),
            numbers.get(keys.SCALE, nothing).fillna(1.0).to_numpy(float),
        )

    @property
    def weights(self) -> Floats:
        """The share of all steps that each report is of."""
        taken = np.maximum(np.diff(self.steps, prepend=0.0), 0.0)
        return taken / taken.sum() if taken.sum() else np.full(len(taken), 1 / len(taken))

    def momentum(self) -> UsedMomentum:
        """Return the momentum over time."""
        seen = int(np.count_nonzero(np.diff(self.momenta)))
        return UsedMomentum(
            float(self.momenta[0]),
            float(self.weights @ self.momenta),
            float(self.momenta[-1]),
            # The last decision may have come with nothing trained after it.
            seen if seen >= self.changes - 1 else self.changes,
        )

    def rate(self, lr: float) -> UsedRate:
        """Return the learning rate over time.

        Args:
            lr: What the configuration sets.
        """
        followed = bool(np.isfinite(self.lrs).all())
        used = self.used(lr)
        return UsedRate(
            lr,
            float(self.weights @ used),
            float(used.min()),
            float(used.max()),
            float(used[-1]),
            followed,
        )

    def used(self, lr: float) -> Floats:
        """Return the learning rate in use at each report, as well as it is known."""
        return self.lrs if np.isfinite(self.lrs).all() else lr * self.scales

    def schedule(self) -> MomentumSchedule:
        """Return the momentum as a function of the step, piecewise constant between reports."""
        first = [0.0, *self.steps[:-1]]
        steps: list[int] = []
        momenta: list[float] = []
        for step, momentum in zip(map(int, first), self.momenta.tolist(), strict=True):
            if momenta and momenta[-1] == momentum:
                continue
            if steps and steps[-1] == step:
                momenta[-1] = momentum
            else:
                steps.append(step)
                momenta.append(momentum)
        return MomentumSchedule(steps, momenta)

    def closest_pair(self, lr: float, reference: float | None) -> tuple[float, float]:
        """Return the fixed learning rate and momentum that come closest.

        The momentum is the one whose memory, ``1 / (1 - momentum)``, is the geometric mean over
        steps. The learning rate, to be set in place of ``lr`` with the same schedule, has the
        trial's trust region (Cor. 5 of arXiv 2512.06370) on the geometric mean over steps.

        Args:
            lr: What the configuration sets.
            reference: The momentum that ``lr`` belongs to; None where the learning rate does not
                follow momentum, as where the optimizer averages gradients.
        """
        momentum = 1.0 - float(np.exp(self.weights @ np.log1p(-self.momenta)))
        scale = float(np.exp(self.weights @ np.log(np.maximum(self.scales, 1e-300))))
        coupled = 1.0 if reference is None else coupling_factor(momentum, reference)
        return lr * scale * coupled, momentum


def lr_of(config: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the key and value of a configuration's learning rate; None where there is none.

    >>> lr_of({"optimizer": "sgd", "lr": 0.1})
    ('lr', 0.1)
    """
    for name in _LR_KEYS:
        value = keys.setting(config, name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return name, float(value)
    return None
