"""Agreement: how far fresh gradients point along the updates just taken."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Agreement:
    """``z = E[x] / E[|x|]`` of the products ``x_t = <g_t, m_{t-1}>``, in [-1, 1].

    The means forget by ``memory`` a step. Free of units: multiplying loss, gradients or learning
    rate by anything changes nothing. By absolute values rather than squares, of which one large
    product alone would make ``z`` small: where training blows up, each product is larger than all
    before, and nothing would oppose it.

    Attributes:
        memory: Factor in [0, 1) by which the sums shrink each step.
        products: Decayed sum of ``x``.
        sizes: Decayed sum of ``|x|``.

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
    sizes: float = 0.0

    @property
    def value(self) -> float:
        """``z``; 0 before the first product that is not 0."""
        if self.sizes == 0.0:
            return 0.0
        # Rounding may lead out of the interval.
        return min(max(self.products / self.sizes, -1.0), 1.0)

    def take_in(self, product: float) -> bool:
        """Take in a step's product, and return whether it was one: NaN and infinity are none."""
        # So no sum overflows.
        if not math.isfinite(product * product):
            return False
        self.products = self.memory * self.products + product
        self.sizes = self.memory * self.sizes + abs(product)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, with the memory of here."""
        self.products, self.sizes = float(state["products"]), float(state["sizes"])
