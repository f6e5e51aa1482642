"""Logged, Reported: which of a Lightning trainer's metrics are new, and which are wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from gap_tune.errors import InvalidValueError

logger = logging.getLogger(__name__)


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


class Reported:
    """Picks and renames what was logged, as Ray's ``TuneReportCheckpointCallback`` does.

    Args:
        asked: Names of the module's by names in the report; names that are the same in both; None
            for everything.

    Raises:
        InvalidValueError: When it is something else.

    >>> Reported({"loss": "ptl/val_loss"}).of({"ptl/val_loss": 0.5, "lr": 0.1})
    {'loss': 0.5}
    """

    def __init__(self, asked: Mapping[str, str] | Sequence[str] | str | None) -> None:
        names = [asked] if isinstance(asked, str) else asked or ()
        pairs: Iterable[tuple[str, str]] | None = None
        if isinstance(names, Mapping):
            pairs = names.items()
        elif isinstance(names, Sequence):
            pairs = [(name, name) for name in names]
        if pairs is None or not all(isinstance(name, str) for pair in pairs for name in pair):
            raise InvalidValueError(
                "metrics must be names that the module logs, or a mapping of names in the report "
                f"to such names, but got {asked!r}."
            )
        self._names = dict(pairs)
        self._complained = False

    def of(self, logged: Mapping[str, Any]) -> dict[str, Any]:
        """Return what to report of what was logged."""
        if not self._names:
            return dict(logged)
        return {name: logged[own] for name, own in self._names.items() if own in logged}

    def complain(self, known: Mapping[str, Any]) -> None:
        """Say it once where a name was never logged, at a moment when it should have been."""
        missing = sorted(set(self._names.values()) - set(known))
        if missing and not self._complained:
            self._complained = True
            logger.warning(
                "metrics must name what the module logs, but got %s: it logs %s.",
                *(missing, sorted(known)),
            )


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
