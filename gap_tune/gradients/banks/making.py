"""make_bank: the filter bank that suits the gradients' device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gap_tune.gradients.banks.base import Bank
from gap_tune.gradients.banks.device import FilterBank
from gap_tune.gradients.banks.host import HostFilterBank
from gap_tune.gradients.banks.whitening import HostWhitening, Whitening


def make_bank(
    candidates: Sequence[float],
    lags: int,
    decay: float,
    *,
    weights: Tensor,
    betas2: Sequence[float] | None,
    eps: float,
) -> Bank:
    """Return an empty bank; it lives where the weights do, in their dtype.

    Args:
        candidates: As of ``FilterBank``.
        lags: As of ``FilterBank``.
        decay: As of ``FilterBank``.
        weights: How many coordinates each observed one stands for, shape (n,).
        betas2: Values of beta2 to whiten gradients with; None for plain inner products.
        eps: Adam's epsilon.
    """
    size, device, dtype = len(weights), weights.device, weights.dtype
    if lives_on_host(device):
        host = None if betas2 is None else HostWhitening(betas2, weights, eps)
        return HostFilterBank(
            candidates, size, lags, decay, device=device, dtype=dtype, whitening=host
        )
    costs = None if betas2 is None else Whitening(betas2, weights, eps)
    return FilterBank(candidates, size, lags, decay, device=device, dtype=dtype, whitening=costs)


def lives_on_host(device: torch.device) -> bool:
    """Tell whether numbers on a device can be read without waiting."""
    return device.type == "cpu"
