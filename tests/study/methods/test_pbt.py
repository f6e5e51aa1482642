"""What population based training keeps for its trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune
from ray.train._internal.checkpoint_manager import _CheckpointManager
from ray.train._internal.session import _TrainingResult

from gap_tune.study import SearchTask, parse_arm
from gap_tune.study.conditions import make_conditions
from gap_tune.study.methods.pbt import PBT


@pytest.mark.parametrize(("epochs", "reports"), [(30, 2), (2, 20)])
def test_bug_a_generations_checkpoints_pushed_out_the_one_that_was_taken_over(
    tmp_path: Path, epochs: int, reports: int
) -> None:
    """The trial that takes it over may start only when the other has gone through a generation."""
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
    # As Ray keeps those of a trial: the one that was taken over, and all of a generation.
    kept = _CheckpointManager(search.options["checkpoint_config"])
    saved = epochs * reports // 5 * search.space["checkpoints_per_epoch"] // reports
    assert saved >= 6, "too few to push anything out"
    for i in range(saved + 1):
        folder = tmp_path / str(i)
        folder.mkdir()
        kept.register_checkpoint(_TrainingResult(tune.Checkpoint(str(folder)), {}))
    assert (tmp_path / "0").exists()
