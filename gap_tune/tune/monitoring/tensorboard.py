"""TensorBoardSteps: results against optimizer steps in TensorBoard, and decisions as text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback

from gap_tune.tune import keys
from gap_tune.tune.monitoring.callbacks import contained
from gap_tune.tune.monitoring.instruments import finite
from gap_tune.tune.nested import leaves
from gap_tune.tune.ray_private.storage.experiment_files import trial_file

# TensorBoard reads one growing file of a folder, and Ray's is in the trial's own.
FOLDER = "by-step"
DECISION_TAG = keys.DECISION
_EVERY_S = 1.0
# What Ray adds to results, of which none has a course over steps.
_OF_RAY = ("config/", "date", "done", "hostname", "iterations_since", "node_ip", "pid", "time_")
_NO_COURSE = ("should_checkpoint", "timestamp", "training_iteration", "timesteps_total")


class TensorBoardSteps(Callback):
    """Writes every number that a trial reports against optimizer steps, and its decisions as text.

    Ray's own logger writes numbers against the count of reports, which compares trials only where
    all report as often. This writes the same numbers, by the names they were reported under, at
    ``gap/steps``: a run ``by-step`` within each trial's, for ``tensorboard --logdir`` on the same
    folder. Under the tag ``gap/decision`` TensorBoard's texts have each decision that says
    something new, with its reason. A trial that goes back to a checkpoint takes back what it had
    written beyond it. Trials that report no steps have no such run.

    Args:
        every_s: Shortest time between two writes of one trial to disk, in seconds.

    >>> from ray import tune
    >>> run_config = tune.RunConfig(callbacks=[TensorBoardSteps()])
    """

    def __init__(self, *, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._runs: dict[str, _Run] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; an open file cannot be saved.
        return {"_every_s": self._every_s}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(every_s=state["_every_s"])  # type: ignore[misc]

    @contained
    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Write a result."""
        steps = finite(result.get(keys.STEPS))
        if steps is None:
            return
        run = self._runs.get(trial.trial_id)
        if run is None or steps < run.step:
            self._close(trial)
            folder = trial_file(trial, FOLDER)
            if folder is None:
                return
            run = self._runs[trial.trial_id] = _Run(folder, int(steps), self._every_s)
        run.write(int(steps), result)

    @contained
    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Close a finished trial's file."""
        self._close(trial)

    @contained
    def on_trial_error(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Close a failed trial's file."""
        self._close(trial)

    @contained
    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        """Close all files."""
        for trial in list(self._runs):
            self._runs.pop(trial).close()

    def _close(self, trial: Any) -> None:
        run = self._runs.pop(trial.trial_id, None)
        if run is not None:
            run.close()


class _Run:
    """One trial's event file, from a step on.

    Args:
        folder: Where it is.
        step: From where on this run is to count, and nothing that was written before.
        every_s: As of the callback.
    """

    def __init__(self, folder: Path, step: int, every_s: float) -> None:
        from tensorboardX import SummaryWriter

        # It names files by the second, and would write over one that was begun in the same.
        suffix = f".{time.time_ns()}"
        self._writer = SummaryWriter(str(folder), purge_step=step, filename_suffix=suffix)
        self.step = step
        self._every_s, self._next = every_s, 0.0
        self._told = ""

    def write(self, step: int, result: Mapping[str, Any]) -> None:
        self.step = step
        for name, value in _numbers(result):
            self._writer.add_scalar(name, value, global_step=step)
        said = str(result.get(keys.DECISION) or "")
        if said and said != self._told:
            self._told = said
            reason = result.get(keys.REASON)
            text = f"{reason}: {said}" if reason else said
            self._writer.add_text(DECISION_TAG, text, global_step=step)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every_s
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _numbers(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers that a trial reported itself."""
    for name, value in leaves(result):
        if name.startswith(_OF_RAY) or name in _NO_COURSE or isinstance(value, bool):
            continue
        number = finite(value)
        if number is not None:
            yield name, number
