"""The filter bank of other devices, on the host, where no test needs a GPU."""

from __future__ import annotations

from typing import Any

import torch

from gap_tune.gradients.filter_bank import FilterBank
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.whitening import Whitening


def on_device_bank(
    parameters: list[torch.nn.Parameter],
    *,
    lags: int = 16,
    decay: float = 0.8,
    whitening: tuple[float, ...] | None = None,
    eps: float = 1e-8,
    **options: Any,
) -> GradientObserver:
    """Return an observer whose sums are tensors, as on a GPU."""
    observer = GradientObserver(
        parameters, lags=lags, decay=decay, whitening=whitening, eps=eps, **options
    )
    reader = observer._reader
    observer._bank = FilterBank(
        observer.candidates,
        reader.size,
        lags,
        decay,
        device=reader.device,
        dtype=reader.dtype,
        whitening=None if whitening is None else Whitening(whitening, reader.weights, eps),
    )
    return observer
