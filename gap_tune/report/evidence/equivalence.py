"""Equivalence: whether an arm is as good as a baseline within a margin, or not worse by more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from gap_tune.report.evidence.paired import ROUNDING

SIGNIFICANCE = 0.05
# Two one-sided tests at 5 % succeed where this interval lies within the margin.
CONFIDENCE = 1 - 2 * SIGNIFICANCE
POWER = 0.8


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided paired t tests of the logarithm of a ratio.

    The first alone asks whether the arm is not worse by more than the margin (non-inferiority),
    which a much better one is as well; both together ask whether it is as good (equivalence), which
    a much better one is not.

    Attributes:
        margin: What the ratio may differ from 1 by, stated before the results: 0.03 admits ratios
            from 1 / 1.03 to 1.03.
        ratio: Geometric mean over seeds of the arm's value over the baseline's; above 1 is worse.
        interval: The 90 % interval of it, by Student's t. Its upper end is how much worse the arm
            may be, at 95 % confidence.
        p_value: The larger of the two tests' p-values.
        not_worse_p_value: That of the first test.
        count: How many pairs there are.
        deviation: Standard deviation of the logarithms.

    >>> import pandas as pd
    >>> loss = pd.Series([0.30, 0.40, 0.35, 0.32])
    >>> found = Equivalence.between(loss * [1.01, 0.99, 1.0, 1.01], loss, "min", 0.03)
    >>> found.shown, round(found.p_value, 4)
    (True, 0.0055)
    >>> found = Equivalence.between(loss * [0.7, 0.8, 0.7, 0.9], loss, "min", 0.03)
    >>> found.shown, found.not_worse
    (False, True)
    """

    margin: float
    ratio: float
    interval: tuple[float, float]
    p_value: float
    not_worse_p_value: float
    count: int
    deviation: float

    @property
    def shown(self) -> bool:
        """Whether the arm is as good: both tests reject at 5 % that it is further off."""
        return self.p_value < SIGNIFICANCE

    @property
    def not_worse(self) -> bool:
        """Whether the arm is not worse by more than the margin: the first test rejects at 5 %."""
        return self.not_worse_p_value < SIGNIFICANCE

    def pairs_needed(self, most: int = 1_000) -> int | None:
        """Return how many pairs of this spread would show an arm that is level to be not worse.

        With four chances in five: the power of the one-sided test by the noncentral t distribution.

        Args:
            most: More are not looked at.

        Returns:
            How many; None where ``most`` do not suffice.
        """
        counts = np.arange(2, most + 1)
        shift = np.log1p(self.margin) * np.sqrt(counts) / self.deviation
        # Beyond this the power is 1, and the distribution's series no longer converges.
        power = stats.nct.sf(
            stats.t.isf(SIGNIFICANCE, counts - 1), counts - 1, np.minimum(shift, 30)
        )
        enough = counts[power >= POWER]
        return int(enough[0]) if len(enough) else None

    @classmethod
    def between(
        cls,
        arm: pd.Series,
        baseline: pd.Series,
        mode: str,
        margin: float,
        *,
        is_fraction: bool = False,
    ) -> Equivalence | None:
        """Return the tests of two arms' values, each indexed by seed.

        Args:
            arm: Values of the arm.
            baseline: Values of what it is compared with.
            mode: "min" when lower values are better, else "max".
            margin: See the class.
            is_fraction: Whether values are shares of all, such as accuracies. Of those to be high,
                what is missing to 1 is compared, as 99 % and 97 % right are not as good.

        Returns:
            The tests; None where values have no ratio, as not all are positive, and with fewer
            than two common seeds or without any spread of the ratios.
        """
        seeds = [seed for seed in arm.index if seed in baseline.index]
        own, other = (values[seeds].to_numpy(float) for values in (arm, baseline))
        if is_fraction and mode == "max":
            own, other = 1.0 - own, 1.0 - other
        elif mode == "max":
            own, other = other, own
        if len(seeds) < 2 or min(own.min(), other.min()) <= 0.0:
            return None
        logs = np.log(own / other)
        if logs.std() <= ROUNDING:
            return None
        bound = np.log1p(margin)
        below = float(stats.ttest_1samp(logs, bound, alternative="less").pvalue)
        above = float(stats.ttest_1samp(logs, -bound, alternative="greater").pvalue)
        low, high = stats.ttest_1samp(logs, 0.0).confidence_interval(CONFIDENCE)
        ends = (float(np.exp(low)), float(np.exp(high)))
        deviation = float(logs.std(ddof=1))
        return cls(
            margin,
            float(np.exp(logs.mean())),
            ends,
            max(below, above),
            below,
            count=len(logs),
            deviation=deviation,
        )
