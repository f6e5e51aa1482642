"""Equivalence: whether an arm is as good as a baseline within a margin, by two one-sided tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from gap_tune.report.evidence.paired import ROUNDING

SIGNIFICANCE = 0.05
# Two one-sided tests at 5 % succeed where this interval lies within the margin.
CONFIDENCE = 1 - 2 * SIGNIFICANCE


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided paired t tests of the logarithm of a ratio.

    Attributes:
        margin: What the ratio may differ from 1 by, stated before the results: 0.03 admits ratios
            from 1 / 1.03 to 1.03.
        ratio: Geometric mean over seeds of the arm's value over the baseline's; above 1 is worse.
        interval: The 90 % interval of it, by Student's t.
        p_value: The larger of the two tests' p-values.

    >>> import pandas as pd
    >>> loss = pd.Series([0.30, 0.40, 0.35, 0.32])
    >>> found = Equivalence.between(loss * [1.01, 0.99, 1.0, 1.01], loss, "min", 0.03)
    >>> found.shown, round(found.p_value, 4)
    (True, 0.0055)
    """

    margin: float
    ratio: float
    interval: tuple[float, float]
    p_value: float

    @property
    def shown(self) -> bool:
        """Whether the arm is as good: both tests reject at 5 % that it is further off."""
        return self.p_value < SIGNIFICANCE

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
        below = stats.ttest_1samp(logs, bound, alternative="less").pvalue
        above = stats.ttest_1samp(logs, -bound, alternative="greater").pvalue
        low, high = stats.ttest_1samp(logs, 0.0).confidence_interval(CONFIDENCE)
        ends = (float(np.exp(low)), float(np.exp(high)))
        return cls(margin, float(np.exp(logs.mean())), ends, float(max(below, above)))
