"""LateValues: numbers of a device, read some steps later, so that nobody waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

Numbers = Tensor | Sequence[float]


class LateValues:
    """Hands on each step's numbers a fixed count of steps after they were put in.

    The count is fixed, rather than whatever has arrived, so that a run repeats bit for bit and all
    ranks do the same. Numbers of a device travel by an asynchronous copy; three steps later they
    have long been there, unless the host is further ahead than that.

    Args:
        steps: How many steps later.

    >>> late = LateValues(2)
    >>> [late.exchange([number]) for number in (1.0, 2.0, 3.0)]
    [None, None, [1.0]]
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._waiting: deque[_Travelling] = deque()

    def exchange(self, numbers: Numbers) -> list[float] | None:
        """Put in the numbers of this step, and return those of so many steps ago; None before.

        Args:
            numbers: Of shape (k,), on any device.
        """
        self._waiting.append(_Travelling(numbers))
        if len(self._waiting) <= self._steps:
            return None
        return self._waiting.popleft().read()

    def state_dict(self) -> list[list[float]]:
        """Return the numbers on their way, the oldest first; waits for them."""
        return [each.read() for each in self._waiting]

    def load_state_dict(self, state: Sequence[Sequence[float]]) -> None:
        """Continue from what ``state_dict`` returned."""
        self._waiting = deque(map(_Travelling, list(state)[-self._steps :] if self._steps else ()))


class _Travelling:
    """Numbers on their way to the host."""

    def __init__(self, numbers: Numbers) -> None:
        self._event: torch.Event | None = None
        self._numbers: Numbers = numbers
        if isinstance(numbers, Tensor) and numbers.device.type != "cpu":
            # Memory that is not pinned would make the copy wait.
            self._numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._numbers.copy_(numbers, non_blocking=True)
            self._event = torch.Event(numbers.device)
            self._event.record()
        elif isinstance(numbers, Tensor):
            self._numbers = numbers.tolist()

    def read(self) -> list[float]:
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        numbers = self._numbers
        return numbers.tolist() if isinstance(numbers, Tensor) else list(numbers)

    def __getstate__(self) -> list[float]:
        # Events cannot be copied.
        return self.read()

    def __setstate__(self, state: list[float]) -> None:
        self._numbers, self._event = state, None
