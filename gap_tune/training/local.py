"""Training a workload without Ray: to try it out before a study, or many runs in a pool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gap_tune.files import remove_drafts
from gap_tune.gradients import GradientMonitor
from gap_tune.training.loop import fit
from gap_tune.tune import GapScheduler, attach, keys
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.trial.checkpointing import FILE

# One for all trials of a process, of which a pool's has many.
_complain = Complaints()


class LocalTrial:
    """A trial in this process: reports go into a list, checkpoints into a folder.

    Who chooses the momentum is the trial's mode (``gap_tune.attach``); in mode "scheduler" it is
    decided on at reports, as ``GapScheduler`` does in a study.

    Args:
        optimizer: What trains.
        config: The trial's configuration.
        folder: Where the checkpoint is; None keeps none.
        results: Where reports go; default a list of its own.

    Attributes:
        results: What was reported.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        config: Mapping[str, Any],
        folder: Path | None = None,
        results: list[dict[str, Any]] | None = None,
    ) -> None:
        self.results = [] if results is None else results
        self._session = attach(optimizer, config)
        self._config = config
        self._scheduler = GapScheduler() if keys.asks_for_tuning(config) else None
        self._folder = folder

    @property
    def monitor(self) -> GradientMonitor | None:
        """The monitor on the optimizer."""
        return self._session.monitor

    def restore(self, **objects: Any) -> bool:
        """Continue from the folder's checkpoint, if it holds one; remove what a kill cut off."""
        self._session.keep(**objects)
        if self._folder is None:
            return False
        remove_drafts(self._folder / FILE)
        # Another process may be writing a checkpoint, whose name is hidden until then.
        found = any(self._folder.glob("[!.]*"))
        if found:
            self._session.load(self._folder)
        return found

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        """Keep the metrics with gap_tune's own; decide; save what ``restore`` named."""
        result = self._session.result(metrics)
        self.results.append(result)
        if self._scheduler is not None:
            self._decide(self._scheduler, result)
        if not checkpoint or self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        # A kill at any moment leaves the old checkpoint or the new one.
        self._session.save(self._folder, whole=True)

    def _decide(self, scheduler: GapScheduler, result: dict[str, Any]) -> None:
        try:
            decision = scheduler.decide(result, self._config)
        except Exception as error:
            # In a study, too, momentum stays and the trial goes on.
            _complain(f"no decision (told once): {error!r}")
            return
        result |= {keys.DECISION: decision.explanation, keys.REASON: str(decision.reason)}
        if decision.changed:
            self._session.follow(decision)


def run(config: Mapping[str, Any], folder: Path | str | None = None) -> list[dict[str, Any]]:
    """Train a workload in this process and return what it reported.

    Momentum stays as it is, unless the configuration's ``"gap": {"mode": ...}`` says otherwise: in
    mode "trial" the trial chooses it itself, in mode "scheduler" as ``GapScheduler`` would.

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
    results: list[dict[str, Any]] = []
    kept = None if folder is None else Path(folder)
    fit(config, lambda optimizer, own: LocalTrial(optimizer, own, kept, results))
    return results
