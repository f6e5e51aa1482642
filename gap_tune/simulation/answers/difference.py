"""Difference: a share or a rank with and without GAP, over settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.simulation.answers.outcome import Floats

Kind = Literal["more", "less", "no difference shown", "undecided"]


@dataclass(frozen=True)
class Difference:
    """Means over settings of two methods, and what their difference is known to.

    Attributes:
        own: One method's mean over settings.
        other: The other's.
        low: Lower end of the 95 % interval of own minus other, a bootstrap of settings and of seeds
            within each; NaN with one setting.
        high: Upper end.

    >>> settings = np.array([[0.2, 0.3], [0.3, 0.4], [0.1, 0.2]])
    >>> Difference.between(settings + 0.1, settings).kind
    'more'
    >>> Difference.between(settings, settings[::-1]).kind
    'no difference shown'
    """

    own: float
    other: float
    low: float
    high: float

    @classmethod
    def between(cls, own: Floats, other: Floats) -> Difference:
        """Return the difference of two methods' values, settings by seeds."""
        ends = math.nan, math.nan
        if len(own) > 1:
            low, high = interval(Resamples.of(*own.shape).means(own - other))
            ends = float(low), float(high)
        return cls(float(np.mean(own)), float(np.mean(other)), *ends)

    @property
    def kind(self) -> Kind:
        """On which side of 0 the interval lies."""
        if math.isnan(self.low):
            return "undecided"
        # Values that are equal in every setting differ by rounding alone.
        if self.low > 1e-12:
            return "more"
        return "less" if self.high < -1e-12 else "no difference shown"
