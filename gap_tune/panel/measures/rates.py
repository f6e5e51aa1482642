"""RateRange: how much worse an arm ends at its worst learning rate than at its best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gap_tune.panel.measures.compared import SMALLEST
from gap_tune.panel.measures.losses import Losses

# An arm whose losses differ by less than this share forgives a wrong learning rate.
FORGIVEN = 0.25


@dataclass(frozen=True)
class RateRange:
    """Test loss at the worst learning rate over that at the best, means over seeds.

    Best and worst are of the test losses themselves: nothing is tuned here.

    Attributes:
        median: Of the settings.
        largest: Of the settings.
        within: Settings where it is at most 1.25.
        settings: How many settings.
    """

    median: float
    largest: float
    within: int
    settings: int

    @classmethod
    def of(cls, losses: Losses, arm: str) -> RateRange:
        """Return an arm's over all settings."""
        means = losses.test[:, losses.arms.index(arm)].mean(axis=-1).clip(min=SMALLEST)
        ratios = means.max(axis=1) / means.min(axis=1)
        within = int((ratios <= 1.0 + FORGIVEN).sum())
        return cls(float(np.median(ratios)), float(ratios.max()), within, len(ratios))
