from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune import FixedMomentum, GapScheduler, GapSearch
from gap_tune.study.methods.plan import PlannedTrials
from tests.tune.functions import Cycle, quadratic
from tests.tune.scheduled import Study

Run = Callable[..., tune.ResultGrid]


@pytest.fixture
def run(ray_address: str, tmp_path: Path) -> Run:
    """Run a real Tune study of planned configurations; return its result grid."""
    return make_run(tmp_path)


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """Make a scheduler with trials that report when they are told to."""
    return lambda **arguments: Study(tmp_path, **arguments)


def make_run(folder: Path) -> Run:
    """Return the function behind the fixture ``run``, for a folder."""

    def go(
        plan: list[dict[str, Any]],
        *,
        function: Callable[[dict[str, Any]], None] = quadratic,
        scheduler: Any = None,
        search: Any = None,
        max_failures: int = 0,
        callbacks: list[Any] | None = None,
        space: dict[str, Any] | None = None,
        at_once: int | None = None,
    ) -> tune.ResultGrid:
        return tune.Tuner(
            function,
            param_space={"lr": 0.02} if space is None else space,
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=max(1, len(plan)),
                # Seeds from other trials' reports depend on timing: keep to the reference momentum.
                search_alg=search or GapSearch(PlannedTrials(plan), rule=FixedMomentum()),
                scheduler=scheduler or GapScheduler(rule=Cycle()),
                reuse_actors=True,
                # One after another they share a process, whose start takes longest.
                max_concurrent_trials=at_once,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=str(folder),
                verbose=0,
                callbacks=callbacks,
                failure_config=tune.FailureConfig(max_failures=max_failures),
            ),
        ).fit()

    return go
