"""How long decisions took: from the scheduler to whoever measures the study in the same driver.

Not a column of results: Ray's loggers would take longer to write it than most decisions take.
"""

from __future__ import annotations

_seconds: dict[str, float] = {}


def note(trial_id: str, seconds: float) -> None:
    """Keep how long the decision on a trial's latest result took."""
    _seconds[trial_id] = seconds


def take(trial_id: str) -> float | None:
    """Return and forget what was noted about a trial, if anything was."""
    return _seconds.pop(trial_id, None)
