"""Remaining: says how many of a suite's runs are left, and how long they will take."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console

from gap_tune.formatting import time_left

# How often to say it where there is no terminal.
_EVERY_S = 30.0


class Remaining:
    """Says where a suite is: a line that changes in a terminal, one every half minute elsewhere.

    Args:
        total: Runs of the suite.
        done: Runs that an earlier session did.
        console: Where to say it.
    """

    def __init__(self, total: int, done: int, console: Console) -> None:
        self._total, self._before, self._now = total, done, 0
        self._console = console
        self._status = console.status("starting")
        self._since = self._said = time.monotonic()

    def __enter__(self) -> Remaining:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._status.stop()

    def advance(self) -> None:
        """Count a run."""
        self._now += 1
        now = time.monotonic()
        text = line(self._total, self._before, self._now, now - self._since)
        if self._console.is_terminal:
            self._status.update(text)
        elif now - self._said >= _EVERY_S:
            self._said = now
            self._console.print(text, highlight=False)


def line(total: int, before: int, now: int, seconds: float) -> str:
    """Return the line.

    Args:
        total: Runs of the suite.
        before: Runs of earlier sessions.
        now: Runs of this session, at least one.
        seconds: How long this session has been at it.

    >>> line(100, 10, 30, 60.0)
    '40 of 100 runs, about 2 min left'
    """
    left = (total - before - now) * seconds / now
    return f"{before + now:,} of {total:,} runs, about {time_left(left)} left"
