"""Agreement: how far fresh gradients point along the updates just taken."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Agreement:
    """``z = E[x] / sqrt(E[x^2])`` of the products ``x_t = <g_t, m_{t-1}>``, in [-1, 1].

    The means forget by ``memory`` a step. Free of units: multiplying loss, gradients or learning
    rate by anything changes nothing.

    Attributes:
        memory: Factor in [0, 1) by which the sums shrink each step.
        products: Decayed sum of ``x``.
        squares: Decayed sum of ``x^2``.
        weight: Their decayed weight.

    >>> agreement = Agreement(memory=0.9)
    >>> agreement.value
    0.0
    >>> for _ in range(3):
    ...     _ = agreement.take_in(5.0)
    >>> round(agreement.value, 12)
    1.0
    """

    memory: float
    products: float = 0.0
    squares: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """``z``; 0 before the first product that is not 0."""
        if self.squares == 0.0:
            return 0.0
        root = math.sqrt(self.squares) * math.sqrt(self.weight)
        # Rounding may lead out of the interval.
        return min(max(self.products / root, -1.0), 1.0)

    def take_in(self, product: float) -> bool:
        """Take in a step's product, and return whether it was one: NaN and infinity are none."""
        square = product * product
        if not math.isfinite(square):
            return False
        self.products = self.memory * self.products + product
        self.squares = self.memory * self.squares + square
        self.weight = self.memory * self.weight + 1.0
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, with the memory of here."""
        self.products, self.squares = float(state["products"]), float(state["squares"])
        self.weight = float(state["weight"])
