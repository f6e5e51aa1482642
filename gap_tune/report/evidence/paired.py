"""PairedDifference: an arm against a baseline over the seeds that both finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
# Below this fraction of the values, a spread is rounding and not noise between seeds.
ROUNDING = 1e-9


@dataclass(frozen=True)
class PairedDifference:
    """Differences seed by seed, and what a paired t test says about their mean.

    The same seed means the same initial weights and data order in both arms, so differences within
    a seed have far less noise than the arms themselves.

    Attributes:
        by_seed: Arm minus baseline per seed; positive is worse, whatever the metric's mode.
        mean: Their mean; NaN without a common seed.
        standard_error: Of the mean; NaN with fewer than two seeds.
        interval: The 95 % interval of the mean by Student's t; NaN with fewer than two seeds.
        p_value: Two-sided; NaN with fewer than two seeds or without any spread.

    >>> import pandas as pd
    >>> loss = pd.Series({0: 0.30, 1: 0.40, 2: 0.35})
    >>> difference = PairedDifference.between(loss, loss - [0.1, 0.2, 0.3], "min")
    >>> [round(end, 3) for end in difference.interval]
    [-0.048, 0.448]
    """

    by_seed: Mapping[int, float]
    mean: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float

    @classmethod
    def between(cls, arm: pd.Series, baseline: pd.Series, mode: str) -> PairedDifference:
        """Return the difference of two arms' values, each indexed by seed.

        Args:
            arm: Values of the arm.
            baseline: Values of what it is compared with.
            mode: "min" when lower values are better, else "max".
        """
        seeds = [seed for seed in arm.index if seed in baseline.index]
        sign = 1.0 if mode == "min" else -1.0
        differences = sign * (arm[seeds].to_numpy() - baseline[seeds].to_numpy())
        by_seed = dict(zip(seeds, differences.tolist(), strict=True))
        mean = float(differences.mean()) if seeds else np.nan
        if len(seeds) < 2:
            return cls(by_seed, mean, np.nan, (np.nan, np.nan), np.nan)
        scale = max(np.abs(arm[seeds]).max(), np.abs(baseline[seeds]).max())
        if differences.std() <= ROUNDING * scale:
            return cls(by_seed, mean, 0.0, (mean, mean), np.nan)
        test = stats.ttest_1samp(differences, 0.0)
        low, high = test.confidence_interval(CONFIDENCE)
        error = float(stats.sem(differences))
        return cls(by_seed, mean, error, (float(low), float(high)), float(test.pvalue))

    @property
    def has_spread(self) -> bool:
        """Whether the differences vary between seeds, without which there is nothing to test."""
        return self.standard_error > 0.0
