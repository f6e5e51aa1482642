"""What population based training keeps for its trials."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.study import SearchTask, parse_arm
from gap_tune.study.conditions import make_conditions
from gap_tune.study.methods.pbt import PBT

# Until a trial has started and gone through a generation, on a machine that does much else.
PATIENCE_S = 300.0


def report(i: int, loss: float, config: dict[str, Any]) -> None:
    """Report as the loop does, with a checkpoint where the configuration asks for one."""
    reports = config["reports_per_epoch"]
    metrics = {"validation_loss": loss, "epoch": i / reports, "lr": config["lr"]}
    if i % (reports // config["checkpoints_per_epoch"]):
        tune.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "i").write_text(json.dumps(i))
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def train(config: dict[str, Any], steps: Path, generation: int) -> None:
    """Be the better or the worse of two trials, by number.

    Args:
        config: As of the search.
        steps: Where the better says how far it is.
        generation: Reports from one perturbation to the next.
    """
    better = tune.get_context().get_trial_id().endswith("_00000")
    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint is not None:
        if not better:
            # This process is slow to start, as where data are large.
            end = time.monotonic() + PATIENCE_S
            while int(steps.read_text()) < 2 * generation:
                assert time.monotonic() < end, "the better trial did not go on meanwhile"
                time.sleep(0.05)
        with checkpoint.as_directory() as folder:
            start = json.loads(Path(folder, "i").read_text())
    for i in range(start + 1, 2 * generation + 1):
        report(i, 0.1 if better else 0.9, config)
        if better:
            # The report's checkpoint is the storage's once ``report`` has returned.
            steps.write_text(str(i))


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "reports"), [(30, 2), (2, 20)])
def test_bug_a_checkpoint_was_gone_before_the_trial_that_took_it_over_had_started(
    ray_address: str, tmp_path: Path, epochs: int, reports: int
) -> None:
    arm = parse_arm("pbt:2")
    conditions = make_conditions(
        "quadratic",
        [arm],
        workload_options=None,
        family=None,
        metric="validation_loss",
        mode="min",
        epochs=epochs,
        lr=None,
        lr_range=None,
        reports_per_epoch=reports,
    )
    search = PBT(2).search(SearchTask(conditions, arm, 0, 2))
    steps, generation = tmp_path / "steps", epochs * reports // 5
    grid = tune.Tuner(
        tune.with_parameters(train, steps=steps, generation=generation),
        param_space=dict(search.space),
        tune_config=tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            num_samples=search.trials or 0,
            search_alg=search.searcher,
            scheduler=search.scheduler,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "runs"), verbose=0, **search.options),
    ).fit()
    assert not grid.errors
    assert [result.metrics["epoch"] for result in grid] == [2 * generation / reports] * 2  # type: ignore[index]
    # Else nothing was taken over.
    worse = tmp_path.rglob("*_00001_*/result.json")
    rows = [json.loads(row) for path in worse for row in path.read_text().splitlines()]
    assert len({row["lr"] for row in rows}) > 1
