"""A driver to be killed: python -m tests.tune.search.pairs_driver ADDRESS FOLDER [TRIALS].

It dies as the kernel would kill it once so many trials have ended, where that is given.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from gap_tune import FixedMomentum, GapScheduler, GapSearch
from tests.tune.functions import quadratic

SPACE = {"lr": tune.loguniform(5e-3, 2e-2), "epochs": 3, "seed": 5}
BASELINES, SEEDS, CONFIGURATIONS = (0.9, 0.5), 2, 3


class Dies(tune.Callback):
    """Kills its own process when a number of trials have ended, and Ray has saved that."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __reduce__(self) -> Any:
        # Ray saves callbacks with a study; whoever goes on with this one is to live.
        return tune.Callback, ()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.left -= 1

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def search() -> GapSearch:
    return GapSearch(OptunaSearch(seed=0), lr="lr", baselines=BASELINES, seeds=SEEDS)


def tuner(folder: Path, after: int = 0) -> tune.Tuner:
    """Return the study, or what is left of it."""
    if tune.Tuner.can_restore(str(folder / "run")):
        return tune.Tuner.restore(str(folder / "run"), quadratic, resume_unfinished=True)
    searching = search()
    return tune.Tuner(
        quadratic,
        param_space=dict(SPACE),
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=searching.trials_of(CONFIGURATIONS),
            # One after another, so that what is suggested does not depend on timing.
            max_concurrent_trials=1,
            search_alg=searching,
            scheduler=GapScheduler(rule=FixedMomentum()),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(folder),
            verbose=0,
            callbacks=[Dies(after)] if after else [],
        ),
    )


if __name__ == "__main__":
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    tuner(Path(sys.argv[2]), *map(int, sys.argv[3:])).fit()
