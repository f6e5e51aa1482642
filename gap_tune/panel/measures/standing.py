"""Standing: where an arm is over several settings, against fixed momenta, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gap_tune.panel.measures.losses import Floats
from gap_tune.records.records import DEFAULT_MARGIN
from gap_tune.report.evidence import equivalence
from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.report.evidence.paired import CONFIDENCE

# A setting's log ratio counts as at most this in means over settings. Losses of small networks
# hardly differ by more, while a quadratic's may by a factor of ten, and would be the mean alone.
CLIP = 0.4
# From here on a percentage is harder to read than a factor.
_LARGE = 10.0

Kind = Literal["ahead", "as good", "level", "behind", "undecided"]


@dataclass(frozen=True)
class Standing:
    """An arm against another, or against each setting's best fixed momenta, over all settings.

    Attributes:
        ratio: Geometric mean over settings, clipped to +-0.4 in the logarithm, of the loss over the
            rival's; below 1 is better.
        low: Lower end of its 95 % interval: a bootstrap of settings, and of seeds within each.
            Rivals and tuned learning rates stay those of all seeds.
        high: Upper end.
        equivalence: The 90 % interval, by the same resamples: two one-sided tests at 5 %.
        median: Of the settings, not clipped.
        worst: The largest ratio of a setting.
        settings: How many settings.
        margin: Within which the arm is as good.
    """

    ratio: float
    low: float
    high: float
    equivalence: tuple[float, float]
    median: float
    worst: float
    settings: int
    margin: float = DEFAULT_MARGIN

    @classmethod
    def of(
        cls,
        values: Floats,
        margin: float = DEFAULT_MARGIN,
        log_ratio: Callable[[Floats], Floats] = np.asarray,
    ) -> Standing:
        """Return the standing of log ratios, settings by seeds.

        Args:
            values: The log ratios; or settings by seeds by whatever they are made of, where they
                are those of means over seeds.
            margin: Within which the arm is as good.
            log_ratio: From the mean over a setting's seeds to its log ratio.

        >>> found = Standing.of(np.array([[0.0, 0.1], [0.1, 0.2], [2.9, 3.1]]))
        >>> round(found.ratio, 3), round(found.median, 3), round(found.low, 3), found.kind
        (1.221, 1.162, 1.051, 'behind')
        """
        by_setting = log_ratio(values.mean(axis=1))
        mean = float(np.exp(clipped(by_setting).mean()))
        ends, inner = (math.nan, math.nan), (math.nan, math.nan)
        # One setting says nothing about others.
        if len(values) > 1:
            resamples = Resamples.of(*values.shape[:2])
            samples = np.exp(resamples.means(values, lambda means: clipped(log_ratio(means))))
            ends, inner = _ends(samples), _ends(samples, equivalence.CONFIDENCE)
        median, worst = np.exp(np.median(by_setting)), np.exp(by_setting.max())
        return cls(mean, *ends, inner, float(median), float(worst), len(values), margin)

    @property
    def kind(self) -> Kind:
        """On which side of 1 the interval lies; "as good" where on neither and within the margin.

        "level" is neither of these: nothing is shown.
        """
        if math.isnan(self.low):
            return "undecided"
        if self.high < 1.0:
            return "ahead"
        if self.low > 1.0:
            return "behind"
        return "as good" if self.within else "level"

    @property
    def within(self) -> bool:
        """Whether two one-sided tests at 5 % show the ratio to be within the margin."""
        low, high = self.equivalence
        return 1.0 / (1.0 + self.margin) < low and high < 1.0 + self.margin

    @property
    def said(self) -> str:
        """The kind in words, with the margin where it says something."""
        if self.kind == "as good":
            return f"as good within {100 * self.margin:g} %"
        if self.kind == "behind" and self.within:
            return f"behind, though within {100 * self.margin:g} %"
        return self.kind

    @property
    def text(self) -> str:
        """The numbers: per cent above or below the rival, with interval and median."""
        if math.isnan(self.low):
            return percent(self.ratio)
        return (
            f"{percent(self.ratio)} (95 % interval {percent(self.low)} to {percent(self.high)}, "
            f"median {percent(self.median)})"
        )


def percent(ratio: float) -> str:
    """Return a ratio as what it is above or below 1, as a factor where that is large.

    >>> percent(1.034), percent(0.5), percent(23.0)
    ('+3.4 %', '-50.0 %', '23 times')
    """
    return f"{100 * (ratio - 1):+.1f} %" if ratio < _LARGE else f"{ratio:.3g} times"


def clipped(logs: Floats) -> Floats:
    """Return log ratios as they count in means over settings."""
    return logs.clip(-CLIP, CLIP)


def _ends(samples: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    low, high = interval(samples, confidence)
    return float(low), float(high)
