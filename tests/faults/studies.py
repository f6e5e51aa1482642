"""Studies of the deterministic training function, and the comparison of two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune

from gap_tune import FixedMomentum, GapScheduler, GapSearch
from gap_tune.study.methods.plan import PlannedTrials
from tests.faults.workload import EPOCHS, descend


def tuner(
    storage: Path | str,
    plan: list[dict[str, Any]],
    *,
    resources: dict[str, float] | None = None,
    callbacks: list[tune.Callback] | None = None,
    filesystem: Any = None,
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


def course(result: tune.Result) -> list[tuple[float, ...]]:
    """Return (iteration, steps, momentum, checksum) of every report, each iteration once."""
    rows = result.metrics_dataframe.to_dict("records")  # type: ignore[union-attr]
    keys = ("training_iteration", "gap/steps", "gap/momentum", "checksum")
    by_iteration = {row["training_iteration"]: tuple(row[key] for key in keys) for row in rows}
    return [by_iteration[i] for i in sorted(by_iteration)]


def assert_same_course(disturbed: tune.Result, undisturbed: tune.Result) -> None:
    """Assert that nothing reported is missing and that weights and momentum are the same."""
    expected = course(undisturbed)
    assert [row[0] for row in expected] == list(range(1, EPOCHS + 1))
    got = course(disturbed)
    differing = [pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]]
    assert got == expected, f"{len(got)} reports of {len(expected)}, differing: {differing}"
