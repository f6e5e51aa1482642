"""EpochLoops: loops over epochs that go on where a checkpoint was taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class EpochLoops:
    """Counts a trial's loops over epochs and how far each is.

    Each loop is a ``range``, except after ``load``: then those before the checkpoint's yield
    nothing, since their work is in the checkpoint, and the checkpoint's own goes on after the
    epoch in which it was taken. Loops inside others are counted anew in each epoch of the outer.

    >>> loops = EpochLoops()
    >>> [list(loops.run(2)), list(loops.run(2))]
    [[0, 1], [0, 1]]
    """

    def __init__(self) -> None:
        # Loops that run, outside in: the number of each at its depth, and the epochs it has begun.
        self._running: list[list[int]] = []
        # How many loops have begun at each depth.
        self._begun = [0]
        self._resumed: list[list[int]] = []

    def run(self, count: int) -> Iterator[int]:
        """Yield the epochs still to do of the next loop."""
        depth, number = len(self._running), self._begun[-1]
        self._begun[-1] += 1
        start = self._start(depth, number)
        if start is None:
            return
        own = [number, start]
        self._running.append(own)
        self._begun.append(0)
        try:
            while own[1] < count:
                own[1] += 1
                yield own[1] - 1
                # What loops inside had left to do belonged to that epoch.
                self._begun[depth + 1 :] = [0]
                self._resumed = []
        finally:
            # This runs after a ``break``, too: the loop is over, and so are those inside.
            if any(each is own for each in self._running):
                del self._running[depth:], self._begun[depth + 1 :]

    def _start(self, depth: int, number: int) -> int | None:
        """Return how many epochs of a loop are in the checkpoint; None for all."""
        if len(self._resumed) <= depth:
            return 0
        last, epochs = self._resumed[depth]
        if number < last:
            return None
        if number == last and len(self._resumed) > depth + 1:
            # The epoch of the checkpoint goes on with the loop inside it.
            return epochs - 1
        self._resumed = []
        return epochs if number == last else 0

    def state_dict(self) -> list[list[int]]:
        """Return where training is: number and epochs of each loop, outside in."""
        if self._running:
            return [list(place) for place in self._running]
        return [[self._begun[0], 0]]

    def load_state_dict(self, places: Sequence[Sequence[Any]]) -> None:
        """Go on from what ``state_dict`` returned."""
        self._resumed = [[int(number), int(epochs)] for number, epochs in places]
