"""RayRunner: runs as trials of Ray Tune, on this machine or on a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from gap_tune.errors import StateError, UnsupportedError
from gap_tune.records.suites import RunKey, key_of
from gap_tune.study.methods.base import Search
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.study.planning import PlannedSearch
from gap_tune.study.resources import Resources
from gap_tune.study.runs import RayRun
from gap_tune.study.store import Store
from gap_tune.study.suite.measuring import measure
from gap_tune.study.suite.runner import Done
from gap_tune.study.suite.running import line
from gap_tune.study.suite.suite import Job
from gap_tune.training.loop import use_own_cores
from gap_tune.tune import GapScheduler, attach

# In a run's last result: how it ended, as JSON.
_END = "end"


@dataclass(frozen=True)
class RayRunner:
    """Does runs as planned trials of Ray Tune, which ``GapScheduler`` decides on.

    Attributes:
        resources: Of a run, and of all together.
        folder: Where Ray Tune keeps what it needs, a folder for each ``run``.

    Raises:
        UnsupportedError: When a run is to have several workers.
    """

    resources: Resources
    folder: Path

    def __post_init__(self) -> None:
        if self.resources.ranks > 1:
            raise UnsupportedError(
                "a run of a suite must have one GPU at most, "
                f"but got gpus_per_trial={self.resources.gpus_per_trial:g}."
            )

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Do the runs; arguments as of ``Runner.run``.

        Raises:
            InvalidValueError: When a GPU is asked for where none is.
            KeyboardInterrupt: When Ray Tune was interrupted, which it keeps to itself.
            StateError: When runs could not even start, or their processes died again and again.
        """
        self.resources.start_ray(f"{len(jobs):,} runs")
        search = PlannedSearch(partial(_search, jobs))
        store = Store(self.folder)
        # What an earlier session has not handed over is lost, and its trials are nobody's.
        folder = store.folder / f"session-{len(list(store.folder.glob('*'))) + 1}"
        # No metric: Ray would want it in the last result, too.
        run = RayRun(folder, search, None, None, self.resources, store, _train)
        lines = _Lines(jobs, done)
        ended = run.go([lines])
        if lines.failure is not None:
            raise lines.failure
        if not ended:
            raise KeyboardInterrupt
        if lines.left:
            raise StateError(
                f"the runs must all come to an end, but {len(lines.left):,} of {len(jobs):,} did "
                f"not, the first of them {next(iter(lines.left))}: why is in {folder}, and the "
                "same command goes on where it was."
            )


def _search(jobs: Sequence[Job]) -> Search:
    """Return the search whose trials are the jobs; a configuration is complete as it is."""
    planned = PlannedTrials([dict(job.config) for job in jobs])
    return Search({}, len(jobs), planned, GapScheduler())


class _Lines(tune.Callback):
    """Makes the line of each trial that ends.

    Args:
        jobs: The runs to do.
        done: Takes lines.

    Attributes:
        left: The runs that have not ended, by key.
        failure: What ``done`` raised.
    """

    def __init__(self, jobs: Sequence[Job], done: Done) -> None:
        self.left: dict[RunKey, Job] = {job.key: job for job in jobs}
        self.failure: Exception | None = None
        self._done = done
        self._reports: dict[str, list[Mapping[str, Any]]] = {}

    def __reduce__(self) -> Any:
        # Ray saves callbacks for a run that goes on later; what is left here is done anew instead.
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Begin with the trial, or begin again: without checkpoints it starts anew."""
        self._reports[trial.trial_id] = []

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep a report; make the line where it is the last.

        Raises:
            Exception: What ``done`` raised. That ends Ray's run, which is meant: lines that cannot
                be kept are not worth their time.
        """
        if _END not in result:
            self._reports[trial.trial_id].append(dict(result))
            return
        # A trial's last result comes twice.
        job = self.left.pop(key_of(trial.config), None)
        if job is None:
            return
        reports = self._reports.pop(trial.trial_id)
        try:
            self._done(line(job, reports, json.loads(result[_END])))
        except Exception as error:
            self.failure = error
            raise


def _train(config: dict[str, Any]) -> None:
    """Train a job's configuration in a trial of Ray Tune."""
    use_own_cores()
    end = measure(config, attach, tune.report)
    tune.report({_END: json.dumps(end)})
