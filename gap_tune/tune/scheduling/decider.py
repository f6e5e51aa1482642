"""Decider: from a trial's result, and perhaps its siblings', to a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gap_tune.errors import StateError, UnsupportedError, check_count, check_range
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules import AlignmentRule, Decision, MomentumRule, Reason
from gap_tune.tune import keys
from gap_tune.tune.scheduling import siblings
from gap_tune.tune.statistics_json import parse_one

Complain = Callable[[str, Any, Exception], None]


class Decider:
    """Asks a rule about results, and holds changes that come too early or are too small.

    Args:
        rule: Chooses the momentum; default ``AlignmentRule()``.
        min_steps: Optimizer steps between two changes of one trial's momentum.
        dead_band: Smallest relative change of the horizon ``1 / (1 - beta)`` to make.
        complain: Is told of siblings whose statistics are of no use.

    Raises:
        InvalidValueError: When ``min_steps`` is no positive integer or ``dead_band`` is negative.
        UnsupportedError: When ``rule`` is no ``MomentumRule``.
    """

    def __init__(
        self, rule: MomentumRule | None, min_steps: int, dead_band: float, complain: Complain
    ) -> None:
        self.rule = AlignmentRule() if rule is None else rule
        if not isinstance(self.rule, MomentumRule):
            raise UnsupportedError(f"rule must be a MomentumRule, but got {type(rule).__name__}.")
        self._min_steps = check_count("min_steps", min_steps)
        self._dead_band = check_range("dead_band", dead_band, 0.0, float("inf"), high_open=True)
        self._complain = complain

    def decide(
        self,
        result: dict[str, Any],
        others: Sequence[Any] = (),
        rule: MomentumRule | None = None,
    ) -> Decision:
        """Return the decision on a flattened result, with the last results of sibling trials.

        Args:
            result: The result.
            others: The siblings.
            rule: The trial's own rule, where it has one.

        Raises:
            InvalidValueError: When the reported momentum is no momentum.
            StateError: When a key is missing, or the reported statistics are malformed.
            UnsupportedError: When the rule returns no ``Decision``.
        """
        present = check_range(keys.MOMENTUM, _get(result, keys.MOMENTUM), 0.0, 1.0, high_open=True)
        since = whole(result, keys.STEPS_SINCE_CHANGE)
        if since < self._min_steps:
            why = f"{since} of {self._min_steps} steps since the last change, so {present:g} stays."
            return Decision(present, present, Reason.RATE_LIMIT, why)
        own = parse_one(_get(result, keys.STATISTICS))
        statistics, count = self._pool(own, others)
        decision = _ask(self.rule if rule is None else rule, statistics, present)
        if count > 1:
            explanation = f"{decision.explanation} Pooled over {count} trials."
            decision = replace(decision, explanation=explanation)
        return _hold(decision, self._dead_band)

    def _pool(
        self, own: AlignmentStatistics, others: Sequence[Any]
    ) -> tuple[AlignmentStatistics, int]:
        """Merge what siblings reported last into a trial's statistics; return how many have."""
        merged, count = own, 1
        for other in others:
            try:
                statistics = siblings.latest_statistics(other)
                if statistics is not None and siblings.comparable(own, statistics):
                    merged, count = merged.merge(statistics), count + 1
            except Exception as error:
                self._complain("a sibling's statistics are left out", other, error)
        return (siblings.with_steps_of(own, merged) if count > 1 else own), count


def _ask(rule: MomentumRule, statistics: AlignmentStatistics, present: float) -> Decision:
    decision = rule.decide(statistics, present)
    if not isinstance(decision, Decision):
        raise UnsupportedError(
            f"{type(rule).__name__}.decide must return a Decision, "
            f"but got {type(decision).__name__}."
        )
    return decision


def _get(result: dict[str, Any], key: str) -> Any:
    if key not in result:
        raise StateError(f"a tuned trial's result must hold {key!r}, but got none.")
    return result[key]


def whole(result: dict[str, Any], key: str) -> int:
    """Return a whole number of a result.

    Raises:
        StateError: When it is missing or something else.
    """
    value = _get(result, key)
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError):
        raise StateError(f"{key} must be a whole number, but got {value!r}.") from None


def _hold(decision: Decision, dead_band: float) -> Decision:
    """Keep the momentum when the new horizon is too near to the old one to matter."""
    short, long = sorted(1.0 / (1.0 - m) for m in (decision.previous, decision.momentum))
    if not decision.changed or long / short - 1.0 >= dead_band:
        return decision
    why = (
        f"{decision.momentum:g} changes the horizon by less than {dead_band:.0%}, "
        f"so {decision.previous:g} stays: {decision.explanation}"
    )
    return replace(decision, momentum=decision.previous, reason=Reason.DEAD_BAND, explanation=why)
