"""Runs that stop where a fault would stop them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gap_tune.training.local import LocalTrial
from gap_tune.training.loop import fit

CLOCKS = ("samples_per_s", "held_out_s")


class StoppedError(Exception):
    """The run was stopped."""


class StoppingTrial(LocalTrial):
    """A trial that stops right after a report."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        config: Mapping[str, Any],
        folder: Path,
        reports: int,
    ) -> None:
        super().__init__(optimizer, config, folder)
        self._left = reports

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        super().report(metrics, checkpoint=checkpoint)
        self._left -= 1
        if self._left == 0:
            raise StoppedError


def run_until(config: dict[str, Any], folder: Path, reports: int) -> list[dict[str, Any]]:
    """Train until so many reports were made, then stop; return those."""
    trials: list[StoppingTrial] = []

    def start(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> StoppingTrial:
        trials.append(StoppingTrial(optimizer, config, folder, reports))
        return trials[-1]

    try:
        fit(config, start)
    except StoppedError:
        return trials[0].results
    raise AssertionError("the run ended before it was stopped")


def untimed(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return reports without what a clock says."""
    return [{k: v for k, v in result.items() if k not in CLOCKS} for result in results]
