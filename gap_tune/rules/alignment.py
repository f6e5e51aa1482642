"""AlignmentRule: the candidate with the largest gain, under guards."""

from __future__ import annotations

from collections.abc import Sequence

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules import guards
from gap_tune.rules.base import Decision, MomentumRule, Reason
from gap_tune.rules.registry import register


@register("alignment")
@register("paper", lag_zero_weight=1.0)
@register("cross-batch", lag_zero_weight=None)
class AlignmentRule(MomentumRule):
    """Chooses the candidate with the largest gain ``J(beta) = sqrt(1-beta^2) A_w(beta)`` (Cor. 5).

    ``A_w(beta) = w S[0] + beta <g_t, m_{t-1}(beta)>`` blends two judges. ``S[0]`` holds the
    minibatch noise and pulls toward low momentum; the fresh gradient ``g_t`` shares no noise with
    ``m_{t-1}`` but ignores the honest part of ``S[0]`` and leans to high momentum early.

    Args:
        lag_zero_weight: ``w`` in [0, 1]; None scores the previous update (cross-batch). The
            default 0.3 did best over ten small tasks, both ends of the range did worse.
        validation_weight: Share in [0, 1] of the alignment with validation gradients.
        hysteresis: Relative margin by which a new candidate must beat the present momentum.
        low: Smallest momentum to choose.
        high: Largest momentum to choose.
        warmup_steps: Observed steps before the first change.

    Raises:
        InvalidValueError: When an argument is out of range or ``low > high``.

    >>> AlignmentRule().lag_zero_weight
    0.3
    >>> AlignmentRule.paper().lag_zero_weight
    1.0
    """

    def __init__(
        self,
        lag_zero_weight: float | None = 0.3,
        *,
        validation_weight: float = 0.0,
        hysteresis: float = 0.0,
        low: float = 0.0,
        high: float = 0.99,
        warmup_steps: int = 5,
    ) -> None:
        if lag_zero_weight is not None:
            lag_zero_weight = check_range("lag_zero_weight", lag_zero_weight, 0.0, 1.0)
        self.lag_zero_weight = lag_zero_weight
        self.validation_weight = check_range("validation_weight", validation_weight, 0.0, 1.0)
        self.hysteresis = check_range("hysteresis", hysteresis, 0.0, float("inf"), high_open=True)
        self.low = check_range("low", low, 0.0, 1.0, high_open=True)
        self.high = check_range("high", high, 0.0, 1.0, high_open=True)
        if self.low > self.high:
            raise InvalidValueError(f"low must not exceed high, but got {low=} and {high=}.")
        self.warmup_steps = check_count("warmup_steps", warmup_steps, low=0)

    @classmethod
    def paper(cls) -> AlignmentRule:
        """Return the papers' rule: in-batch alignment ``<g_t, m_t>``, w = 1 (Algorithm 1)."""
        return cls(lag_zero_weight=1.0)

    @classmethod
    def cross_batch(cls) -> AlignmentRule:
        """Return the rule that judges the previous update ``m_{t-1}`` by the fresh gradient."""
        return cls(lag_zero_weight=None)

    @property
    def scales_lr(self) -> bool:  # type: ignore[override]
        """Whether the learning rate is to follow the agreement: not with the papers' rule, w = 1.

        Their algorithms keep the learning rate that they are given.
        """
        return self.lag_zero_weight != 1.0

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        """Return the candidate with the largest gain, unless a guard says otherwise."""
        candidates = statistics.candidates
        gains = statistics.gain_values(self.lag_zero_weight, self.validation_weight)
        verdict = (
            guards.warm_up(statistics, momentum, self.warmup_steps)
            or guards.no_alignment(candidates, gains, self.low, self.high)
            or guards.hysteresis(candidates, gains, momentum, self.hysteresis)
            or self._best(candidates, gains, momentum)
        )
        chosen, reason, explanation = guards.bounds(verdict[0], self.low, self.high) or verdict
        return Decision(
            momentum=chosen,
            previous=momentum,
            reason=reason,
            explanation=explanation,
            candidates=candidates,
            gains=tuple(gains),
        )

    def _best(
        self, candidates: Sequence[float], gains: Sequence[float], momentum: float
    ) -> guards.Verdict:
        index = gains.index(max(gains))
        best = candidates[index]
        if best == momentum:
            return best, Reason.ALREADY_BEST, f"{best:g} still has the largest gain."
        return best, Reason.BEST_GAIN, f"{best:g} has the largest gain ({gains[index]:.3g})."

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"
