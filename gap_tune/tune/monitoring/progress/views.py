"""View: a way to show a study; lines of text and lines of JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from gap_tune.formatting import as_reported, plain
from gap_tune.tune import keys, nested
from gap_tune.tune.monitoring.instruments import finite
from gap_tune.tune.monitoring.progress.tracker import Snapshot, Tracker, best_line
from gap_tune.tune.monitoring.progress.trials import (
    Shown,
    arm_of,
    changes_of,
    label,
    momentum_of,
)
from gap_tune.tune.ray_private.results import last_result

logger = logging.getLogger(__name__)

# More running trials than these would bury the rest of a log.
_MOST_LINES = 8
# How often a trial's reports may appear in a log of events.
_REPORT_EVERY_S = 30.0


class View:
    """Shows a study; this one shows nothing.

    Args:
        console: Where to.
        shown: Result keys.
        tracker: What the study's trials did.
    """

    # Shortest time between two calls of ``refresh``; None for none.
    every_s: float | None = None

    def __init__(self, console: Console, shown: Shown, tracker: Tracker) -> None:
        self.console, self.shown, self.tracker = console, shown, tracker
        self._gone = False

    def start(self) -> None:
        """Begin to show a Ray Tune run."""

    def started(self, trial: Any) -> None:
        """Show that a trial starts, or starts again."""

    def reported(self, trial: Any, result: dict[str, Any]) -> None:
        """Show a trial's result."""

    def ended(self, trial: Any, *, failed: bool, reason: str) -> None:
        """Show that a trial finished, or failed for good."""

    def refresh(self, snapshot: Snapshot) -> None:
        """Show how the study is."""

    def close(self, snapshot: Snapshot) -> None:
        """Show the end of a Ray Tune run."""

    def write(self, line: str) -> None:
        """Write one line, however long, and at once."""
        if self._gone:
            return
        line = plain(line)
        try:
            self.console.file.write(line + "\n")
            self.console.file.flush()
        except UnicodeEncodeError:
            self.console.file.write(line.encode("ascii", "replace").decode() + "\n")
        except (OSError, ValueError):
            # Whoever read it has gone: `gap-tune ... | head`.
            self._gone = True
            logger.warning("progress can no longer be written, the study goes on")


class Failures(View):
    """One line for each trial that failed, and no other."""

    def ended(self, trial: Any, *, failed: bool, reason: str) -> None:
        """Show a failed trial."""
        if failed:
            self.write(f"{label(trial)}: failed, {reason}")


class Lines(View):
    """One line for each trial that ended, and now and then how the study is."""

    every_s = 30.0

    def __init__(self, console: Console, shown: Shown, tracker: Tracker) -> None:
        super().__init__(console, shown, tracker)
        self._said_still = False

    def ended(self, trial: Any, *, failed: bool, reason: str) -> None:
        """Show what a trial ended with."""
        how = f"{'failed' if failed else 'finished'} ({self.tracker.place})"
        self.write(f"{label(trial)}: {how}, {f'{reason}, ' if reason else ''}{self._state(trial)}")

    def refresh(self, snapshot: Snapshot) -> None:
        """Show the numbers of trials, the best and, where they are few, those that run."""
        best = best_line(snapshot.best, self.shown.metric or "") if snapshot.best else ""
        self.write("; ".join(filter(None, (snapshot.counts(), snapshot.pace(), best))))
        for line in snapshot.standing.lines():
            self.write(line)
        # Once is enough: what has not moved would be said every time.
        if snapshot.still and not self._said_still:
            self.write(snapshot.still)
        self._said_still = bool(snapshot.still)
        if len(snapshot.running) <= _MOST_LINES:
            for trial in snapshot.running:
                self.write(f"{label(trial)}: running, {self._state(trial)}")

    def _state(self, trial: Any) -> str:
        result = last_result(trial)
        values = {self.shown.counted: self.shown.epoch, **self.shown.values()}
        known = {name: nested.get(result, key) for name, key in values.items()}
        parts = [
            f"{name} {as_reported(value)}" for name, value in known.items() if value is not None
        ]
        if nested.holds(result, keys.MOMENTUM):
            changes = changes_of(trial)
            parts.append(f"momentum {momentum_of(trial)}")
            parts.append(f"{changes} change{'' if changes == '1' else 's'}")
        return ", ".join(parts or ["nothing reported yet"])


class Events(View):
    """One JSON object for each event, on a line of its own.

    | ``event`` | when | besides ``time``, ``trial``, ``arm``, ``seed`` |
    |---|---|---|
    | ``started`` | a trial starts, or starts again | |
    | ``reported`` | it reports; every 30 seconds at most | ``result`` |
    | ``finished``, ``failed`` | it ends | ``result``; ``reason`` |
    | ``ended`` | a Ray Tune run ends | numbers of trials, ``best`` |

    A study has several Ray Tune runs where arms search; the numbers are the study's.
    """

    def __init__(self, console: Console, shown: Shown, tracker: Tracker) -> None:
        super().__init__(console, shown, tracker)
        self._reported_at: dict[str, float] = {}

    def started(self, trial: Any) -> None:
        """Write that a trial starts, or starts again."""
        self._event("started", trial)

    def reported(self, trial: Any, result: dict[str, Any]) -> None:
        """Write a trial's result, if it is time."""
        now = time.monotonic()
        if now - self._reported_at.get(trial.trial_id, -_REPORT_EVERY_S) >= _REPORT_EVERY_S:
            self._reported_at[trial.trial_id] = now
            self._event("reported", trial, result=self._result(result))

    def ended(self, trial: Any, *, failed: bool, reason: str) -> None:
        """Write what a trial ended with."""
        self._reported_at.pop(trial.trial_id, None)
        result = self._result(last_result(trial))
        if failed:
            self._event("failed", trial, reason=reason, result=result)
        else:
            self._event("finished", trial, result=result)

    def close(self, snapshot: Snapshot) -> None:
        """Write the numbers of trials and the best."""
        best = snapshot.best
        self._event(
            "ended",
            finished=snapshot.finished,
            failed=snapshot.failed,
            pending=snapshot.pending,
            total=snapshot.total,
            best=None if best is None else {"trial": best.trial, "value": best.value},
        )

    def _event(self, event: str, trial: Any = None, **more: Any) -> None:
        line: dict[str, Any] = {"time": round(time.time(), 3), "event": event}
        if trial is not None:
            seed = keys.setting(trial.config, "seed")
            line |= {
                "trial": trial.trial_id,
                "arm": arm_of(trial),
                "seed": _json_value(seed),
            }
        self.write(json.dumps({**line, **more}, allow_nan=False))

    def _result(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the results to show."""
        wanted: Sequence[str] = (
            "training_iteration",
            self.shown.epoch,
            *self.shown.values().values(),
            keys.MOMENTUM,
            keys.SEQ,
            keys.SCALE,
            keys.AGREEMENT,
        )
        held = [key for key in wanted if nested.holds(result, key)]
        return {key: _json_value(nested.get(result, key)) for key in held}


def _json_value(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinity are null, what it lacks is text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = finite(value)
    return number if number is not None or isinstance(value, float) else str(value)
