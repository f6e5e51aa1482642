"""Notes: what the driver had spent at each event of a study, and the slopes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ray.tune import Callback


@dataclass(frozen=True)
class Moment:
    """The driver's state when something had happened.

    Attributes:
        trial: Whose event it was.
        wall: Seconds on the clock.
        cpu: Seconds of processor time that the controller's thread had taken.
        resident: Bytes of memory that the process held.
    """

    trial: str
    wall: float
    cpu: float
    resident: int


# Results to tell what one costs by.
_FEWEST = 8


class Notes(Callback):
    """Notes a moment at each result and at each trial's end.

    The controller runs callbacks in its own thread, whose processor time is what the study waits
    for: unlike time on the clock it says the same on a busy machine.
    """

    def __init__(self) -> None:
        self.results: list[Moment] = []
        self.ends: list[Moment] = []

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a result."""
        self.results.append(_now(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial's end."""
        self.ends.append(_now(trial))

    def steady(self, warm: int = 10) -> list[Moment]:
        """Return the results while all trials reported, each of them ``warm`` times before.

        Where trials start so far apart that they hardly do, as on a busy machine: all results but
        the first quarter.
        """
        seen: dict[str, int] = {}
        trials = {each.trial for each in self.results}
        began = len(self.results)
        for place, each in enumerate(self.results):
            seen[each.trial] = seen.get(each.trial, 0) + 1
            if len(seen) == len(trials) and min(seen.values()) > warm:
                began = place
                break
        ended = self.ends[0].wall if self.ends else float("inf")
        found = [each for each in self.results[began:] if each.wall < ended]
        return found if len(found) >= _FEWEST else self.results[len(self.results) // 4 :]


def _now(trial: Any) -> Moment:
    return Moment(trial.trial_id, time.perf_counter(), time.thread_time(), resident_bytes())


def resident_bytes() -> int:
    """Return this process's resident memory in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def per_event(values: Sequence[float], block: int = 50) -> float:
    """Return how much a growing quantity grows per event: the median over blocks of events.

    >>> per_event([0.0, 2.0, 4.0, 6.0, 108.0, 110.0], block=1)
    2.0
    """
    block = max(1, min(block, (len(values) - 1) // 3))
    places = range(0, len(values) - block, block)
    return median((values[i + block] - values[i]) / block for i in places)


def mean_per_event(values: Sequence[float]) -> float:
    """Return how much a growing quantity grows per event, on the whole.

    >>> mean_per_event([0.0, 2.0, 4.0, 12.0])
    4.0
    """
    return (values[-1] - values[0]) / (len(values) - 1)
