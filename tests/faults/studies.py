"""Studies of the deterministic training function, and the comparison of two courses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune

from gap_tune import FixedMomentum, GapScheduler, GapSearch
from gap_tune.study.methods.plan import PlannedTrials
from tests.faults.workload import EPOCHS, descend

# (iteration, steps, momentum, checksum) of every report of a trial.
Course = list[tuple[float, ...]]


def tuner(
    storage: Path | str,
    plan: list[dict[str, Any]],
    *,
    resources: dict[str, float] | None = None,
    callbacks: list[tune.Callback] | None = None,
    filesystem: Any = None,
    reuse_actors: bool = False,
) -> tune.Tuner:
    """Return the study of planned trials, every one of which may fail often."""
    return tune.Tuner(
        tune.with_resources(descend, resources or {"cpu": 1}),
        param_space={},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=len(plan),
            # Seeds from other trials' reports depend on timing: keep to the reference momentum.
            search_alg=GapSearch(PlannedTrials(plan), rule=FixedMomentum()),
            scheduler=GapScheduler(),
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=str(storage),
            storage_filesystem=filesystem,
            verbose=0,
            callbacks=callbacks,
            failure_config=tune.FailureConfig(max_failures=20),
        ),
    )


def course(result: tune.Result) -> Course:
    """Return what the trial of a result reported, each iteration once."""
    rows = result.metrics_dataframe.to_dict("records")  # type: ignore[union-attr]
    keys = ("training_iteration", "gap/steps", "gap/momentum", "checksum")
    by_iteration = {row["training_iteration"]: tuple(row[key] for key in keys) for row in rows}
    return [by_iteration[i] for i in sorted(by_iteration)]


def assert_same_course(disturbed: Course, undisturbed: Course) -> None:
    """Assert that nothing reported is missing and that weights and momentum are the same."""
    assert [row[0] for row in undisturbed] == list(range(1, EPOCHS + 1))
    differing = [pair for pair in zip(disturbed, undisturbed, strict=False) if pair[0] != pair[1]]
    counts = f"{len(disturbed)} reports of {len(undisturbed)}"
    assert disturbed == undisturbed, f"{counts}, differing: {differing}"


def courses_to_json(grid: tune.ResultGrid) -> list[tuple[int, Course]]:
    """Return seed and course of every trial, for a process that compares them."""
    return [(result.config["seed"], course(result)) for result in grid]


def assert_same_courses(json_courses: list[Any], undisturbed: dict[int, Course]) -> None:
    """Assert that of two courses, seeds 0 and 1, that JSON has brought here."""
    assert sorted(seed for seed, _ in json_courses) == [0, 1]
    for seed, rows in json_courses:
        assert_same_course([tuple(row) for row in rows], undisturbed[seed])
