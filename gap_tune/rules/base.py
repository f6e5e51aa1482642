"""MomentumRule and Decision: the interface between statistics and whoever applies momentum."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

from gap_tune.errors import InvalidValueError, check_range
from gap_tune.gradients.statistics import AlignmentStatistics


class Reason(StrEnum):
    """Why a decision came out as it did; few values, so that they can be counted."""

    BEST_GAIN = "best gain"
    ALREADY_BEST = "already best"
    FIXED = "fixed"
    WARM_UP = "warm-up"
    HYSTERESIS = "hysteresis"
    BOUNDS = "bounds"
    NO_ALIGNMENT = "no alignment"
    DEAD_BAND = "dead band"
    RATE_LIMIT = "rate limit"
    SCHEDULE = "schedule"
    AGREEMENT = "agreement"
    # Only in decision logs: nothing could be decided, and the explanation says why.
    ERROR = "error"


@dataclass(frozen=True)
class Decision:
    """The momentum to use from the next step on, and why.

    Attributes:
        momentum: The new momentum, in [0, 1).
        previous: The momentum before.
        reason: The guard or comparison that decided.
        explanation: The same in words and numbers, one sentence.
        candidates: Momentum values that were compared; empty for rules that compare none.
        gains: Their gains, in the same order.

    >>> Decision(0.95, 0.9, Reason.BEST_GAIN, "0.95 has the best gain.").changed
    True
    """

    momentum: float
    previous: float
    reason: Reason
    explanation: str
    candidates: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_range("momentum", self.momentum, 0.0, 1.0, high_open=True)
        if len(self.candidates) != len(self.gains) or not all(map(math.isfinite, self.gains)):
            raise InvalidValueError(
                "gains must be one finite number per candidate, but got "
                f"gains={self.gains} for candidates={self.candidates}."
            )

    @property
    def changed(self) -> bool:
        """Whether the momentum is another one than before."""
        return self.momentum != self.previous


class MomentumRule(ABC):
    """Chooses momentum from gradient statistics. Rules hold no state and can be pickled.

    Attributes:
        uses_agreement: Whether ``AlignmentStatistics.agreement`` is to be measured for it.
        couple_lr: Whether the learning rate is to follow its momentum where the user does not say;
            None leaves that to the kind of optimizer.
        scales_lr: Whether the learning rate is to follow the agreement (``gap_tune.TrustRegion``)
            where the user does not say.
    """

    uses_agreement: bool = False
    couple_lr: bool | None = None
    scales_lr: bool = True

    @abstractmethod
    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        """Return the momentum to use next.

        Args:
            statistics: What the gradients said so far.
            momentum: The momentum in use, in [0, 1).
        """
