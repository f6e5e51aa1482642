"""FixedMomentum: the rule of every baseline."""

from __future__ import annotations

from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules.base import Decision, MomentumRule, Reason
from gap_tune.rules.registry import register


@register("fixed")
class FixedMomentum(MomentumRule):
    """A rule that never changes momentum, nor the learning rate unless that is asked for.

    >>> FixedMomentum()
    FixedMomentum()
    """

    scales_lr = False

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        """Return the present momentum."""
        return Decision(momentum, momentum, Reason.FIXED, f"Momentum stays fixed at {momentum:g}.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
