"""DecayInGradient: weight decay that is part of the gradient, as SGD's is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gap_tune.gradients.coordinates import Coordinates
from gap_tune.gradients.reading import GradientReader

# Of torch's optimizers, those whose weight decay is part of the gradient unless a group says that
# it is decoupled.
_OPTIMIZERS = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
)


class DecayInGradient:
    """Adds to gradients the weight decay that an optimizer adds to them.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._decays = isinstance(optimizer, _OPTIMIZERS)

    def added(
        self, gradient: Tensor, reader: GradientReader, coordinates: Coordinates, out: Tensor
    ) -> Tensor:
        """Write a gradient with its weight decay into ``out``, and return that.

        Args:
            gradient: As the reader has just gathered it, shape (n,).
            reader: What read it; weights are read now.
            coordinates: Of the reader.
            out: Shape (n,).
        """
        if not self._decays:
            return out.copy_(gradient)
        groups = self._optimizer.param_groups
        factors = [_decay_in_gradient(group) for group in groups]
        if not any(factors):
            return out.copy_(gradient)
        factor: float | Tensor = factors[0]
        # Asking each parameter costs as much as reading it; where they are alike, nobody asks.
        if reader.absent or factors.count(factors[0]) < len(factors):
            decays = {
                p: decay
                for group, decay in zip(groups, factors, strict=True)
                for p in group["params"]
                if p.grad is not None
            }
            factor = coordinates.spread(decays)
        values = reader.gather_values(out)
        if isinstance(factor, Tensor):
            return torch.addcmul(gradient, values, factor, out=out)
        return torch.add(gradient, values, alpha=factor, out=out)


def _decay_in_gradient(group: Mapping[str, Any]) -> float:
    """Return the weight decay that is part of a group's gradients; 0 where it is decoupled."""
    # Subclasses of torch's optimizers may have groups without one.
    if not group.get("weight_decay") or group.get("decoupled_weight_decay"):
        return 0.0
    # A gradient that is ascended has the other sign.
    return (-1.0 if group.get("maximize") else 1.0) * float(group["weight_decay"])
