"""replay: what another scheduler would have done with the trials of a finished experiment."""

from __future__ import annotations

import logging
from pathlib import Path

from ray.tune.result import TIME_THIS_ITER_S, TIME_TOTAL_S, TIMESTAMP
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import ConcurrencyLimiter

from gap_tune.errors import StateError
from gap_tune.records.experiments import compared_by
from gap_tune.records.saved_state import SavedState
from gap_tune.records.trials import Trial, read_trial, trial_folders
from gap_tune.simulation.cluster import Cluster
from gap_tune.simulation.replay.replayed_task import Recording, ReplayedTask
from gap_tune.simulation.simulated import Simulated
from gap_tune.simulation.study import simulate
from gap_tune.simulation.task import Report
from gap_tune.tune import keys
from gap_tune.tune.scheduling.scheduler import GapScheduler

logger = logging.getLogger(__name__)

# What Ray, the driver and the reading of records have added to what a trial reported.
_ADDED = {
    *("arm", "seed", "trial_id", "iteration"),
    *(TIMESTAMP, TIME_THIS_ITER_S, TIME_TOTAL_S),
    *(keys.DECISION, keys.REASON),
}


def replay(
    folder: Path | str,
    *,
    scheduler: TrialScheduler | None = None,
    cluster: Cluster | None = None,
    metric: str | None = None,
    mode: str | None = None,
    seed: int = 0,
) -> Simulated:
    """Return what a scheduler would have done with the trials of a finished Ray Tune experiment.

    The same configurations begin in the same order, and report what they reported, after the same
    seconds of training; nothing trains. Only the scheduler is asked anew, say for what ASHA would
    have stopped in a study that let everything run.

    A trial that would have gone on where the real one was stopped ends there, as a failed one
    ("ERROR"): what it would have reported nobody knows. So does one that would have been sent
    another momentum. A warning says how many did, and of the first why. An experiment in which
    every trial ran to its end answers best.

    Args:
        folder: The experiment's folder.
        scheduler: The scheduler. Where the experiment's trials were tuned by a ``GapScheduler``,
            any other is wrapped in one, which decides by the default rule. Default FIFO.
        cluster: Where it is to have run; default a machine that runs as many trials at once as
            there were at most, without start-up.
        metric: Metric to compare by. Default: the one that the study asked Ray Tune for.
        mode: "min" or "max". Default: likewise.
        seed: Of what the scheduler and the clock draw.

    Raises:
        StateError: When no trial in the folder has reported.
        InvalidValueError: When metric or mode are neither given nor saved, or cannot be.
        UnsupportedError: When the scheduler is none, or cannot be wrapped.

    >>> from ray.tune.schedulers import ASHAScheduler
    >>> replay("no study", scheduler=ASHAScheduler())
    Traceback (most recent call last):
    ...
    gap_tune.errors.StateError: no study must be the folder of an experiment whose trials have \
reported, but it has no trial.
    """
    task = read_task(folder, metric=metric, mode=mode)
    if task.tuned and not isinstance(scheduler, GapScheduler):
        scheduler = GapScheduler(scheduler)
    cluster = Cluster(trials_per_node=task.at_once) if cluster is None else cluster
    simulated = simulate(
        task,
        search=ConcurrencyLimiter(task.searcher(), max_concurrent=cluster.slots),
        scheduler=scheduler,
        trials=len(task.recordings),
        cluster=cluster,
        space={},
        seed=seed,
    )
    if task.unknown:
        logger.warning(
            "%d of %d trials end where the experiment does not say how they go on, the first one "
            "since %s",
            *(len(task.unknown), len(task.recordings), task.unknown[0]),
        )
    return simulated


def read_task(
    folder: Path | str, *, metric: str | None = None, mode: str | None = None
) -> ReplayedTask:
    """Return the trials of an experiment's folder.

    Args:
        folder: The experiment's folder.
        metric: Metric to compare by. Default: the one that the study asked Ray Tune for.
        mode: "min" or "max". Default: likewise.

    Raises:
        StateError: When no trial in the folder has reported.
        InvalidValueError: When metric or mode are neither given nor saved, or cannot be.
    """
    folder = Path(folder).expanduser()
    saved = SavedState.read(folder)
    paths = sorted(trial_folders(folder), key=lambda path: saved.place_of(path.name))
    trials = [read_trial(path, saved) for path in paths]
    if not any(trial.reports for trial in trials):
        raise StateError(
            f"{folder} must be the folder of an experiment whose trials have reported, but "
            f"{'none of them has' if trials else 'it has no trial'}."
        )
    compared = compared_by(folder, [trial.config for trial in trials], metric, mode)
    finished = [t for t in trials if t.row["status"] == "finished"]
    longest = max((len(t.reports) for t in finished), default=0)
    began = [saved.began.get(str(trial.row["trial_id"])) for trial in trials]
    first = min((at for at in began if at is not None), default=0.0)
    recordings = [
        _recording(trial.stopped_before(longest), 0.0 if at is None else at - first)
        for trial, at in zip(trials, began, strict=True)
    ]
    return ReplayedTask(folder.resolve().name, recordings, compared["metric"], compared["mode"])


def _recording(trial: Trial, began: float) -> Recording:
    reports = tuple(
        Report(
            {name: value for name, value in row.items() if name not in _ADDED},
            float(row.get(TIME_THIS_ITER_S, 0.0)),
        )
        for row in trial.reports
    )
    count = f"{len(reports)} report{'' if len(reports) == 1 else 's'}"
    ended = {
        "finished": "",
        "stopped": f"it was stopped after {count}",
        "failed": f"it failed after {count} ({trial.row['error']})",
    }.get(trial.row["status"], f"it had made {count} when its study ended")
    return Recording(trial.config, reports, ended, began)
