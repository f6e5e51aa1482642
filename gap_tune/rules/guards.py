"""Guards: pure functions that may overrule the best gain, and say so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules.base import Reason

Verdict = tuple[float, Reason, str]


def warm_up(statistics: AlignmentStatistics, momentum: float, warmup_steps: int) -> Verdict | None:
    """Keep the momentum until ``warmup_steps`` steps (at least one) were observed."""
    if statistics.steps >= max(1, warmup_steps):
        return None
    return (
        momentum,
        Reason.WARM_UP,
        f"{statistics.steps} of {warmup_steps} warm-up steps observed, so {momentum:g} stays.",
    )


def no_alignment(
    candidates: Sequence[float], gains: Sequence[float], low: float, high: float
) -> Verdict | None:
    """Take the lowest allowed candidate when every candidate points uphill.

    The factor ``sqrt(1 - beta^2)`` makes the *highest* momentum the least negative one, although
    it is the one that keeps pointing uphill longest; a comparison would choose exactly wrongly.
    """
    if max(gains) > 0:
        return None
    lowest = min(max(candidates[0], low), high)
    return (
        lowest,
        Reason.NO_ALIGNMENT,
        f"No candidate aligns with the gradients (best gain {max(gains):.3g}), "
        f"so the lowest, {lowest:g}, is taken.",
    )


def hysteresis(
    candidates: Sequence[float],
    gains: Sequence[float],
    momentum: float,
    margin: float,
) -> Verdict | None:
    """Keep the momentum unless the best gain exceeds its own by the relative ``margin``."""
    if margin == 0.0:
        return None
    present = float(np.interp(momentum, candidates, gains))
    best = max(gains)
    if best > present + margin * abs(present):
        return None
    return (
        momentum,
        Reason.HYSTERESIS,
        f"The best gain {best:.3g} is within {margin:.0%} of {momentum:g}'s {present:.3g}, "
        f"so {momentum:g} stays.",
    )


def bounds(momentum: float, low: float, high: float) -> Verdict | None:
    """Clip the momentum into [low, high]."""
    clipped = min(max(momentum, low), high)
    if clipped == momentum:
        return None
    return (
        clipped,
        Reason.BOUNDS,
        f"{momentum:g} is outside [{low:g}, {high:g}], so {clipped:g} is taken.",
    )
