"""Siblings: trials that differ in their seed only, and the statistics that they share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.tune import keys, statistics_json
from gap_tune.tune.ray_private.results import last_result

_RUNNING = "RUNNING"


class Siblings:
    """Finds trials whose configurations are equal but for the seed.

    Compared is everything in the configuration except seed, momentum and sections ``gap``, of
    which only the rule counts, as JSON; values that JSON cannot hold count as equal when their
    ``repr`` is.

    Args:
        seed: The configuration key of the seed, or its path.
        momentum: The configuration key of the momentum, or its path.
    """

    def __init__(self, seed: str, momentum: str) -> None:
        self._ignored = (seed, momentum)
        self._kinds: dict[str, str] = {}

    def of(self, trial: Any, trials: Iterable[Any]) -> list[Any]:
        """Return the trial's running siblings that the scheduler tunes too, in a fixed order."""
        kind = self._kind(trial)
        found = [
            other
            for other in trials
            if other.status == _RUNNING and other is not trial and self._kind(other) == kind
        ]
        # Sums of floats depend on their order.
        return sorted(found, key=lambda other: str(other.trial_id))

    def forget(self, trial: Any) -> None:
        """Drop what is kept about a trial that has ended."""
        self._kinds.pop(trial.trial_id, None)

    def _kind(self, trial: Any) -> str:
        kind = self._kinds.get(trial.trial_id)
        if kind is None:
            rest = keys.without_own(trial.config, *self._ignored)
            # Baselines neither give nor take: a comparison with them would mean nothing.
            tuned = keys.asks_for_tuning(trial.config)
            # Neither do arms of different rules, which are compared with each other too.
            rule = keys.section(trial.config).get(keys.RULE)
            kind = json.dumps([tuned, rule, rest], sort_keys=True, default=repr)
            self._kinds[trial.trial_id] = kind
        return kind


def latest_statistics(trial: Any) -> AlignmentStatistics | None:
    """Return the statistics of a trial's last result; None when it has reported none.

    Raises:
        StateError: When they are malformed.
    """
    text = last_result(trial).get(keys.STATISTICS)
    return None if text is None else statistics_json.parse_one(text)


def comparable(own: AlignmentStatistics, other: AlignmentStatistics) -> bool:
    """Tell whether two trials are about equally far: within a factor of two in steps.

    Statistics describe the last few steps before a report, and gradients change as training
    goes on.
    """
    return own.steps <= 2 * other.steps and other.steps <= 2 * own.steps


def with_steps_of(own: AlignmentStatistics, merged: AlignmentStatistics) -> AlignmentStatistics:
    """Return merged sums with the step counts of one trial: rules go by the trial's own steps."""
    return replace(merged, steps=own.steps, skipped_steps=own.skipped_steps)
