"""Logged: which of a Lightning trainer's metrics are new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class Logged:
    """Tells the metrics of one moment from those that ``callback_metrics`` keeps of earlier ones.

    Lightning never forgets a name: what was logged an epoch ago stays there until it is logged
    again. Each new value is a new tensor, though, so a tensor whose memory is still that of the
    last moment's is the last moment's value. The old tensors are kept alive here, so that no new
    one can take their place. Nothing waits for the device.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def new(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics that were logged since they were last ``seen``."""
        return {
            name: value
            for name, value in metrics.items()
            if name not in self._seen or not _same(value, self._seen[name])
        }

    def seen(self, metrics: Mapping[str, Any]) -> None:
        """Count these as old from now on."""
        self._seen.update(metrics)


def plain(metrics: Mapping[str, Any]) -> dict[str, float | str]:
    """Return metrics as floats, and strings as they are; leave out what is neither."""
    found: dict[str, float | str] = {}
    for name, value in metrics.items():
        if isinstance(value, str):
            found[name] = value
            continue
        try:
            found[name] = float(value)
        except (OverflowError, RuntimeError, TypeError, ValueError):
            continue
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a is b or (a.device == b.device and a.data_ptr() == b.data_ptr())
    return a is b
