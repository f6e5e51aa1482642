"""ObservedSet: which of an optimizer's parameters are observed, as freezing comes and goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy


class ObservedSet:
    """The parameters that train, or have trained, among all that an optimizer holds now.

    A parameter is observed from the first step at which it requires gradients or has one, and
    then for as long as the optimizer holds it: one that is frozen later has no gradient, and so
    adds nothing. Looking for changes costs microseconds.

    Args:
        every: All parameters, observed or not, in the order of the optimizer's groups.

    Attributes:
        every: The same, as of the last look.
        positions: Places in ``every`` of those observed, increasing.
    """

    def __init__(self, every: Iterable[Tensor]) -> None:
        self.every = list(every)
        self.positions: list[int] = []
        self._waiting = dict(enumerate(self.every))
        self._admit()

    @property
    def parameters(self) -> list[Tensor]:
        """The observed parameters."""
        return [self.every[i] for i in self.positions]

    def follow(self, every: Sequence[Tensor] | None = None) -> bool:
        """Look for parameters that came, went or began to train; return whether there are any.

        Args:
            every: All parameters as of now; None where they are still the same.
        """
        if every is None or (len(every) == len(self.every) and all(map(is_, every, self.every))):
            return self._admit()
        known = {id(parameter) for parameter in self.parameters}
        self.every = list(every)
        self._keep([i for i, each in enumerate(self.every) if id(each) in known])
        self._admit()
        return True

    def layout(self) -> dict[str, Any]:
        """Return which parameters are observed, as plain values for checkpoints."""
        return {
            "positions": list(self.positions),
            "shapes": [list(parameter.shape) for parameter in self.parameters],
        }

    def misfit(self, layout: Mapping[str, Any]) -> str:
        """Return in what these parameters differ from a saved layout; "" where it fits them."""
        for position, shape in zip(layout["positions"], layout["shapes"], strict=True):
            if position >= len(self.every):
                return f"parameter {position} of shape {shape}, but there are {len(self.every)}"
            mine = self.every[position]
            if is_lazy(mine):
                return f"parameter {position} of shape {shape}, but it has none yet"
            if list(mine.shape) != shape:
                return f"parameter {position} of shape {shape}, but it has {list(mine.shape)}"
        return ""

    def having(self, layout: Mapping[str, Any]) -> ObservedSet:
        """Return the same parameters, observed as in a saved layout that fits."""
        other = ObservedSet(())
        other.every = self.every
        other._keep(list(layout["positions"]))
        return other

    def _keep(self, positions: list[int]) -> None:
        self.positions = positions
        kept = set(positions)
        self._waiting = {i: each for i, each in enumerate(self.every) if i not in kept}

    def _admit(self) -> bool:
        """Observe those that train by now."""
        # Almost always none does, and there may be hundreds to look at.
        if not any(each.requires_grad or each.grad is not None for each in self._waiting.values()):
            return False
        late = [i for i, each in self._waiting.items() if _trains(each)]
        if late:
            self._keep(sorted(self.positions + late))
        return bool(late)


def _trains(parameter: Tensor) -> bool:
    # A lazy module's parameters have no shape before its first batch.
    return (parameter.requires_grad or parameter.grad is not None) and not is_lazy(parameter)
