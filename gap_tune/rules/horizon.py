"""HorizonRule: momentum alone follows the agreement."""

from __future__ import annotations

import math

from gap_tune.errors import InvalidValueError, check_range
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules.base import Decision, MomentumRule, Reason
from gap_tune.rules.registry import register


@register("horizon")
class HorizonRule(MomentumRule):
    """Moves the horizon ``1 / (1 - beta)`` of the filter with the agreement.

    A step of momentum beta turns a gradient into ``lr / (1 - beta)`` in total. ``TrustRegion``
    follows the agreement with the learning rate and keeps the shape of the filter; this rule
    follows it with momentum and keeps the learning rate, which is not coupled:
    ``log(1 / (1 - beta))`` grows by ``gain * z`` at each decision, with ``z`` the agreement in
    [-1, 1] (``AlignmentStatistics.agreement``). So it is made to decide at every step, in trials
    of mode "trial". It is for SGD: Adam's step does not grow with beta1.

    Args:
        gain: Growth of the log of the horizon per decision at full agreement.
        low: Smallest momentum; positive for Nesterov's, which torch refuses at 0.
        high: Largest momentum.

    Raises:
        InvalidValueError: When an argument is out of range or ``low > high``.

    >>> HorizonRule()
    HorizonRule(gain=0.02, low=0.0, high=0.995)
    """

    uses_agreement = True
    couple_lr = False
    # The agreement has one way to make steps longer here; with two it would be followed twice.
    scales_lr = False

    def __init__(self, gain: float = 0.02, low: float = 0.0, high: float = 0.995) -> None:
        self.gain = check_range("gain", gain, 0.0, float("inf"), high_open=True)
        self.low = check_range("low", low, 0.0, 1.0, high_open=True)
        self.high = check_range("high", high, 0.0, 1.0, high_open=True)
        if self.low > self.high:
            raise InvalidValueError(f"low must not exceed high, but got {low=} and {high=}.")

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        """Return the momentum of a longer horizon where updates are borne out, else a shorter."""
        agreement = statistics.agreement
        if agreement is None:
            text = f"Nobody measured the agreement, so {momentum:g} stays."
            return Decision(momentum, momentum, Reason.WARM_UP, text)
        horizon = math.exp(self.gain * agreement) / (1.0 - momentum)
        wanted = 1.0 - 1.0 / horizon
        chosen = min(max(wanted, self.low), self.high)
        borne = "borne out" if agreement > 0 else "opposed" if agreement < 0 else "neither"
        text = f"Updates are {borne} (agreement {agreement:+.2f}), so momentum is {chosen:.3g}."
        reason = Reason.AGREEMENT if chosen == wanted else Reason.BOUNDS
        return Decision(chosen, momentum, reason, text)

    def __repr__(self) -> str:
        limits = f"low={self.low!r}, high={self.high!r}"
        return f"{type(self).__name__}(gain={self.gain!r}, {limits})"
