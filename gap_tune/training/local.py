"""Training a workload without Ray, to try it out before a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gap_tune.gradients import GradientMonitor
from gap_tune.training.loop import fit
from gap_tune.tune import TrialSession, attach


class LocalTrial:
    """A trial in this process: reports go into a list, checkpoints into a folder.

    Args:
        session: What ``attach`` made of the optimizer.
        folder: Where the checkpoint is; None keeps none.

    Attributes:
        results: What was reported.
    """

    def __init__(self, session: TrialSession, folder: Path | None) -> None:
        self.results: list[dict[str, Any]] = []
        self._session = session
        self._folder = folder

    @property
    def monitor(self) -> GradientMonitor | None:
        """The monitor on the optimizer."""
        return self._session.monitor

    def restore(self, **objects: Any) -> bool:
        """Continue from the folder's checkpoint, if it holds one."""
        self._session.keep(**objects)
        # A checkpoint that a kill cut off has a name that is hidden.
        found = self._folder is not None and any(self._folder.glob("[!.]*"))
        if found and self._folder is not None:
            self._session.load(self._folder)
        return found

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        """Keep the metrics with gap_tune's own; save what ``restore`` named."""
        self.results.append(self._session.result(metrics))
        if not checkpoint or self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        # A kill at any moment leaves the old checkpoint or the new one.
        self._session.save(self._folder, whole=True)


def run(config: Mapping[str, Any], folder: Path | str | None = None) -> list[dict[str, Any]]:
    """Train a workload in this process and return what it reported.

    Momentum stays as it is, unless the configuration says ``"gap": {"mode": "trial"}``: then the
    trial chooses it itself.

    Args:
        config: As of ``loop.train``.
        folder: Where checkpoints go, and where the run continues from after a kill; then the
            result holds only what was still to do.

    Raises:
        GapTuneError: When the configuration or the data are not what they should be.

    >>> *_, last = run({"workload": "logistic", "epochs": 2})
    >>> last["validation_accuracy"] > 0.9
    True
    """
    trials: list[LocalTrial] = []

    def start(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> LocalTrial:
        trials.append(
            LocalTrial(attach(optimizer, config), None if folder is None else Path(folder))
        )
        return trials[-1]

    fit(config, start)
    return trials[0].results
