"""How long the parts of a real study took, by what it asked of its searcher and scheduler."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from tests.simulation.calls import Calls


@dataclass(frozen=True)
class Measured:
    """How long the parts of a real study took, in seconds of the wall clock.

    Attributes:
        wall: From the moment at which its first trials began together, to the end of its last.
        fresh: From the failure of each trial that began anew to the start of its new process.
        reused: From the moment when a process had nothing more to do, and a trial waited for it,
            until it began that trial.
        first: What the first report of a process's trial took beyond the training that it is about.
        later: What each of the others took beyond.
    """

    wall: float
    fresh: tuple[float, ...]
    reused: tuple[float, ...]
    first: tuple[float, ...]
    later: tuple[float, ...]

    @classmethod
    def of(cls, calls: Calls, together: int) -> Measured:
        """Measure a study.

        Args:
            calls: What it asked of its parts.
            together: How many of its trials began together.
        """
        began = calls.of("start")[together - 1].at
        end = max(call.at for call in calls if call.what.startswith("scheduler.on_trial_complete"))
        return cls(end - began, *_starts(calls, began), *_overheads(calls, began))

    @property
    def times(self) -> dict[str, float]:
        """What a cluster is told of them: means, since delays of a busy machine add up.

        A report that comes with a checkpoint costs two messages to the trial, and two back; a start
        and the first report of a trial one of each. What is left is the process's own.
        """
        latency = max(0.0, _mean(self.later)) / 4
        own = _mean(self.first) - 4 * latency
        return {
            "start_seconds": max(0.0, _mean(self.fresh) + own),
            "reset_seconds": max(0.0, _mean(self.reused) + own),
            "report_latency": latency,
        }


def _mean(seconds: tuple[float, ...]) -> float:
    return statistics.mean(seconds) if seconds else 0.0


def _starts(calls: Calls, began: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return how long new processes took to start, and others to go on to another trial."""
    asked: dict[int, float] = {}
    failed: set[int] = set()
    started: set[int] = set()
    free: deque[float] = deque()
    last: dict[int, float] = {}
    fresh, reused = [], []
    for call in calls:
        if call.what == "scheduler.on_trial_add":
            asked[call.trial] = call.at
        elif call.what == "scheduler.on_trial_error":
            failed.add(call.trial)
        elif call.what.startswith("scheduler.on_trial_complete"):
            free.append(call.at)
        elif call.what == "start" and call.at > began:
            if call.trial in started - failed:
                # Population based training has paused it, and its process goes on.
                reused.append(call.at - last[call.trial])
            elif free:
                reused.append(call.at - max(asked[call.trial], free.popleft()))
            else:
                fresh.append(call.at - asked[call.trial])
        if call.what == "start":
            failed.discard(call.trial)
            started.add(call.trial)
        last[call.trial] = call.at
    return tuple(fresh), tuple(reused)


def _overheads(calls: Calls, began: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what first reports, and others, took beyond their training."""
    last: dict[int, float] = {}
    started: set[int] = set()
    first, later = [], []
    for call in calls.of("start", "scheduler.on_trial_result"):
        if call.what == "start":
            started.add(call.trial)
        else:
            found = first if call.trial in started else later
            found.append(call.at - last[call.trial] - call.metrics["seconds"])
            started.discard(call.trial)
        last[call.trial] = max(began, call.at)
    return tuple(first), tuple(later)
