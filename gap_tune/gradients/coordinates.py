"""Coordinates: numbers of whole parameters, at each of the coordinates that are observed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor

from gap_tune.gradients.reading import GradientReader

# Vectors that are kept: momenta and weight decays repeat from step to step.
_KEPT = 8


class Coordinates:
    """Spreads numbers of parameters over the coordinates that a reader reads.

    Args:
        reader: What reads them.
    """

    def __init__(self, reader: GradientReader) -> None:
        self._reader = reader
        self._known: OrderedDict[tuple[float, ...], Tensor] = OrderedDict()

    def spread(self, numbers: Mapping[Tensor, float] | float) -> float | Tensor:
        """Return a number of every coordinate, shape (n,); a plain one where they are equal.

        Args:
            numbers: By parameter, 0 where it is left out; or one for all.
        """
        if not isinstance(numbers, Mapping):
            return numbers
        reader = self._reader
        key = tuple(numbers.get(p, 0.0) for p in reader.parameters)
        if len(set(key)) <= 1:
            return key[0] if key else 0.0
        each = self._known.get(key)
        if each is None:
            lengths = torch.tensor([piece.length for piece in reader.slices])
            values = [key[piece.tensor] for piece in reader.slices]
            each = torch.tensor(values, dtype=reader.dtype).repeat_interleave(lengths)
            each = self._known[key] = each.to(reader.device)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return each
