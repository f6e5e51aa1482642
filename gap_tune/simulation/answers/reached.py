"""Reached: what a method takes, in trials or in cluster time, to be as good as another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gap_tune.formatting import duration
from gap_tune.report.evidence.bootstrap import interval
from gap_tune.simulation.answers.outcome import Floats

TRIALS, TIME = "trials", "time"
AXES = (TRIALS, TIME)


@dataclass(frozen=True)
class Reached:
    """Trials or seconds; infinite where the whole study does not suffice.

    Attributes:
        axis: "trials" or "time".
        value: How many.
        low: Lower end of the 95 % interval; NaN where there is none.
        high: Upper end.
        most: Up to how many there was to look at.

    >>> Reached("trials", 12.34, 8.0, math.inf, 32.0).text
    '12.3 trials (95 % interval 8.0 to more than 32)'
    >>> Reached("time", math.inf, math.nan, math.nan, 7200.0).text
    'more than 2.00 h'
    """

    axis: str
    value: float
    low: float
    high: float
    most: float

    @classmethod
    def of(cls, axis: str, found: Floats, most: float) -> Reached:
        """Return what was taken, from the number itself, followed by those of resamples if any."""
        return cls(axis, float(found[0]), *_ends(found[1:]), most=float(most))

    @property
    def is_reached(self) -> bool:
        """Whether the study suffices."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval that says more: not where even its lower end is infinite."""
        return math.isfinite(self.low)

    @property
    def short(self) -> str:
        """The number alone, with its unit where it is a time."""
        return self._amount(self.value)

    @property
    def text(self) -> str:
        """The number with its unit and interval."""
        number = self.short + (" trials" if self.axis == TRIALS else "")
        if not self.has_interval:
            return number
        return f"{number} (95 % interval {self._amount(self.low)} to {self._amount(self.high)})"

    @property
    def interval(self) -> str:
        """The interval alone; empty where there is none."""
        return f"{self._amount(self.low)} to {self._amount(self.high)}" if self.has_interval else ""

    def _amount(self, value: float) -> str:
        if math.isfinite(value):
            return f"{value:.1f}" if self.axis == TRIALS else duration(value)
        most = f"{self.most:g}" if self.axis == TRIALS else duration(self.most)
        return f"more than {most}"


@dataclass(frozen=True)
class Speed:
    """What a method takes to be as good as another at its end, over what that takes itself.

    Attributes:
        ratio: Below 1 is sooner; infinite where the study does not suffice.
        low: Lower end of the 95 % interval, of paired resamples; NaN where there is none.
        high: Upper end.

    >>> Speed(0.5, 0.4, 0.8).kind, Speed(0.5, 0.4, 1.2).kind, Speed(math.inf, 1.2, math.inf).kind
    ('sooner', 'level', 'later')
    """

    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, own: Floats, other: Floats) -> Speed:
        """Return the ratio, from both numbers themselves, followed by those of resamples if any."""
        ratios = own / other
        return cls(float(ratios[0]), *_ends(ratios[1:]))

    @property
    def kind(self) -> Literal["sooner", "level", "later", "undecided"]:
        """On which side of 1 the interval lies."""
        if math.isnan(self.low):
            return "undecided"
        if self.high < 1.0:
            return "sooner"
        return "later" if self.low > 1.0 else "level"

    @property
    def interval(self) -> str:
        """The interval alone; empty where there is none."""
        return "" if math.isnan(self.low) else f"{_times(self.low)} to {_times(self.high)}"

    def taken(self, what: str) -> str:
        """Return what it takes of trials or of time in words, with the interval and the kind.

        >>> Speed(0.5, 0.4, math.inf).taken("trials")
        '0.50 times the trials (95 % interval 0.40 to more than a study has), level'
        """
        amount = f"more {what} than a study has"
        if math.isfinite(self.ratio):
            amount = f"{self.ratio:.2f} times the {what}"
        if not self.interval:
            return amount
        return f"{amount} (95 % interval {self.interval}), {self.kind}"


def _ends(samples: Floats) -> tuple[float, float]:
    """Return the ends of the 95 % interval; NaN without samples."""
    if not len(samples):
        return math.nan, math.nan
    low, high = interval(samples)
    return float(low), float(high)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if math.isfinite(ratio) else "more than a study has"
