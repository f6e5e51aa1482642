"""Resamples: a bootstrap of groups, such as settings, and of the seeds within each."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gap_tune.report.evidence.paired import CONFIDENCE

Floats = NDArray[np.float64]

DRAWS = 2_000
# Four seeds can be drawn in this many ways.
_SEED_DRAWS = 256


class Resamples:
    """What a bootstrap of two levels draws: groups, and within each of them seeds.

    The same sizes give the same draws, so that whatever is computed of them is paired: a ratio of
    two methods' results varies with the ratio, not with both.

    Args:
        groups: How many groups there are; as many are drawn, with replacement.
        seeds: How many seeds each has; as many are drawn, with replacement, whenever it is drawn.
        draws: How many resamples. Each takes one of 256 draws of seeds for a group.
        seed: Of the random numbers.

    >>> values = np.array([[0.9, 1.1], [1.9, 2.1]])
    >>> [round(float(end), 1) for end in interval(Resamples.of(2, 2).means(values))]
    [0.9, 2.0]
    """

    def __init__(self, groups: int, seeds: int, *, draws: int = DRAWS, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._seeds = random.integers(seeds, size=(groups, _SEED_DRAWS, seeds))
        self._groups = random.integers(groups, size=(draws, groups))
        self._which = random.integers(_SEED_DRAWS, size=(draws, groups))

    @classmethod
    @lru_cache(maxsize=32)
    def of(cls, groups: int, seeds: int) -> Resamples:
        """Return the resamples of these sizes, drawn once."""
        return cls(groups, seeds)

    def means(self, values: Floats, of_group: Callable[[Floats], Floats] = np.asarray) -> Floats:
        """Return the mean over groups in every resample.

        Args:
            values: Groups by seeds by whatever else.
            of_group: From the mean over a group's seeds to what is averaged over groups; it gets
                and returns arrays whose first two axes are not its own.

        Returns:
            Resamples by whatever else.
        """
        places = np.arange(len(values))[:, None, None]
        by_group = of_group(values[places, self._seeds].mean(axis=2))
        found: Floats = by_group[self._groups, self._which].mean(axis=1)
        return found


def interval(samples: Any, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return the ends between which the middle share of the samples lies, along the first axis.

    Samples may be infinite: the ends are samples, not values between them.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return low, high
