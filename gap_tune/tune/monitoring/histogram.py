"""MomentumHistogram: the momenta of all running trials in TensorBoard, as they change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ray.tune import Callback

from gap_tune.tune import keys
from gap_tune.tune.monitoring.callbacks import contained
from gap_tune.tune.monitoring.instruments import finite
from gap_tune.tune.ray_private.storage.experiment_files import experiment_file

# TensorBoard calls a run by its folder.
FOLDER = "all-trials"
TAG = "gap/momenta"
_EVERY_S = 1.0


class MomentumHistogram(Callback):
    """Writes a histogram of the momenta that trials train with into the experiment's folder.

    Ray's own logger writes each trial's numbers: ``ray/tune/gap/momentum``, gain, power. This adds
    how they spread over the trials that run, for ``tensorboard --logdir`` on the same folder: the
    run ``all-trials``, tag ``gap/momenta``. Its steps are reports, of all trials together. It
    looks once per round of reports, once a second at most, and at the end of each Ray Tune run.

    Args:
        every_s: Shortest time between two looks, in seconds.
    """

    def __init__(self, *, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._momenta: dict[str, float] = {}
        self._reports = self._written_at = 0
        self._writer: Any = None
        self._next = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; an open file cannot be saved.
        return {"_every_s": self._every_s}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(every_s=state["_every_s"])  # type: ignore[misc]

    def get_state(self) -> dict[str, Any]:
        """Return how many reports there were."""
        return {"reports": self._reports}

    @contained
    def set_state(self, state: dict[str, Any]) -> None:
        """Continue to count reports."""
        self._reports = self._written_at = state["reports"]

    @contained
    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a trial's momentum; write them all after a round of reports, when it is time."""
        self._reports += 1
        momentum = finite(result.get(keys.MOMENTUM))
        if momentum is None:
            return
        self._momenta[trial.trial_id] = momentum
        whole_round = self._reports - self._written_at >= len(self._momenta)
        if whole_round and time.monotonic() >= self._next:
            self._write(trial)

    @contained
    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Leave a finished trial out from now on."""
        self._leave_out(trial)

    @contained
    def on_trial_error(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Leave a failed trial out from now on."""
        self._leave_out(trial)

    @contained
    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        self._momenta.clear()
        if writer is not None:
            writer.close()

    def _leave_out(self, trial: Any) -> None:
        # The last trials of a study would otherwise end unseen.
        if self._momenta and self._reports > self._written_at:
            self._write(trial)
        self._momenta.pop(trial.trial_id, None)

    def _write(self, trial: Any) -> None:
        self._next = time.monotonic() + self._every_s
        self._written_at = self._reports
        if self._writer is None:
            self._open(trial)
        if self._writer is not None:
            values = list(self._momenta.values())
            self._writer.add_histogram(TAG, values, global_step=self._reports, bins="auto")
            self._writer.flush()

    def _open(self, trial: Any) -> None:
        # It is in the driver's folder: where storage is no local one, Ray uploads what is in it.
        folder = experiment_file(trial, FOLDER)
        if folder is not None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(folder))
