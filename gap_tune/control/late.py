"""LateValues: numbers of a device, read some steps later, so that nobody waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor


class LateValues:
    """Hands on each number a fixed count of steps after it was put in.

    The count is fixed, rather than whatever has arrived, so that a run repeats bit for bit and all
    ranks do the same. Numbers of a device travel by an asynchronous copy; three steps later they
    have long been there, unless the host is further ahead than that.

    Args:
        steps: How many steps later.

    >>> late = LateValues(2)
    >>> [late.exchange(number) for number in (1.0, 2.0, 3.0)]
    [None, None, 1.0]
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._waiting: deque[_Travelling] = deque()

    def exchange(self, number: Tensor | float) -> float | None:
        """Put in the number of this step, and return that of so many steps ago; None before.

        Args:
            number: Of one element, on any device.
        """
        self._waiting.append(_Travelling(number))
        if len(self._waiting) <= self._steps:
            return None
        return self._waiting.popleft().value()

    def state_dict(self) -> list[float]:
        """Return the numbers on their way, the oldest first; waits for them."""
        return [each.value() for each in self._waiting]

    def load_state_dict(self, state: Sequence[float]) -> None:
        """Continue from what ``state_dict`` returned."""
        self._waiting = deque(map(_Travelling, list(state)[-self._steps :] if self._steps else ()))


class _Travelling:
    """A number on its way to the host."""

    def __init__(self, number: Tensor | float) -> None:
        self._event: torch.Event | None = None
        self._number: Tensor | float = number
        if not isinstance(number, Tensor):
            return
        if number.device.type == "cpu":
            self._number = float(number)
            return
        # Memory that is not pinned would make the copy wait.
        self._number = torch.empty((1,), dtype=number.dtype, pin_memory=True)
        self._number.copy_(number.reshape(1), non_blocking=True)
        self._event = torch.Event(number.device)
        self._event.record()

    def value(self) -> float:
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return float(self._number)

    def __getstate__(self) -> float:
        # Events cannot be copied.
        return self.value()

    def __setstate__(self, state: float) -> None:
        self._number, self._event = state, None
