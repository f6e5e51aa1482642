"""Whether two states are the same, bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def same(first: Any, second: Any) -> bool:
    """Tell whether two nested states hold the same, tensors bit for bit.

    >>> same({"a": [torch.ones(2), 1]}, {"a": [torch.ones(2), 1]})
    True
    >>> same(torch.ones(2), torch.ones(2, dtype=torch.float64))
    False
    """
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return (
            isinstance(first, Tensor)
            and isinstance(second, Tensor)
            and first.dtype == second.dtype
            and torch.equal(first, second)
        )
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second or (first != first and second != second))
