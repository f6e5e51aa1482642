"""The studies on real Ray, eight trials at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import BasicVariantGenerator

from tests.simulation.calls import Calls, RecordingCallback, RecordingScheduler, RecordingSearch
from tests.simulation.sleeping import train
from tests.simulation.studies import Study


@dataclass(frozen=True)
class RealRun:
    """A study that has really run.

    Attributes:
        study: What was run.
        calls: What it asked of its parts, in order, with times of the wall clock.
        folder: The experiment's folder.
        grid: Ray's results.
    """

    study: Study
    calls: Calls
    folder: Path
    grid: Any


def run_on_ray(study: Study, storage: Path) -> RealRun:
    """Run a study with 8 trials at a time; Ray has two CPUs, of which each takes a quarter.

    Less where the study itself says how many: a process of the study before, which Ray has not
    ended yet, would leave no room for the last of them.
    """
    study.seed()
    calls = Calls()
    begun = storage / "begun"
    begun.mkdir(parents=True)
    function = partial(train, task=study.task, begun=begun, together=study.together)
    search = study.search()
    grid = tune.Tuner(
        tune.with_resources(function, {"cpu": 0.25 if study.at_once is None else 0.2}),
        param_space=dict(study.space),
        tune_config=tune.TuneConfig(
            metric=study.task.metric,
            mode=study.task.mode,
            num_samples=study.trials,
            max_concurrent_trials=study.at_once,
            search_alg=search
            if isinstance(search, BasicVariantGenerator)
            else RecordingSearch(search, calls),
            scheduler=RecordingScheduler(study.scheduler(), calls),
            reuse_actors=True,
            trial_name_creator=short_name,
        ),
        run_config=tune.RunConfig(
            name=study.name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[RecordingCallback(calls)],
            failure_config=tune.FailureConfig(max_failures=study.failures),
        ),
    ).fit()
    return RealRun(study, calls, storage / study.name, grid)


def short_name(trial: Any) -> str:
    """Return the name of a trial's folder."""
    return f"trial_{trial.trial_id}"
