"""Pace: how often something may be shown without costing the study."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pace:
    """Says when it is time again.

    Args:
        least_s: Shortest time from one showing to the next, in seconds.
        share: Largest share of the time that showing may take; slow terminals get less.
        clock: Returns seconds, and never goes back.
    """

    def __init__(
        self, least_s: float, *, share: float = 0.01, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._least_s, self._share, self._clock = least_s, share, clock
        self._next = clock() + least_s

    def due(self) -> bool:
        """Tell whether it is time."""
        return self._clock() >= self._next

    @contextmanager
    def shown(self) -> Iterator[float]:
        """Measure what a showing takes, and yield the time; the next one waits accordingly."""
        begun = self._clock()
        try:
            yield begun
        finally:
            took = self._clock() - begun
            self._next = begun + max(self._least_s, took / self._share)
