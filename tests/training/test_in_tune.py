"""The loop as Ray Tune runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune

from gap_tune.training.local import run
from gap_tune.training.loop import train


@pytest.mark.slow
def test_a_killed_trial_ends_as_one_in_this_process_that_was_not(
    ray_address: str, tmp_path: Path
) -> None:
    config = {
        "workload": "tests.workloads.fragile:Fragile",
        "workload_options": {"grave": str(tmp_path / "grave")},
        "batch_size": 256,
        "epochs": 4,
        "reports_per_epoch": 4,
        "checkpoints_per_epoch": 2,
        "validation_every": 3,
        "gap": {"mode": "trial"},
    }
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=config,
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            # Ray restores its result file from the last one that it copied, which is at every
            # checkpoint where only one is kept.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    (result,) = tuner.fit()
    assert (tmp_path / "grave").exists()
    expected = run(config)
    frame = result.metrics_dataframe
    assert frame is not None
    # What was reported after the last checkpoint comes twice.
    told = frame.drop_duplicates("epoch", keep="last").sort_values("epoch")
    for key in ("epoch", "train_loss", "validation_loss", "gap/momentum", "gap/gain"):
        assert told[key].to_list() == [row[key] for row in expected], key
    assert result.metrics is not None
    assert result.metrics["test_loss"] == expected[-1]["test_loss"]
    assert (told["samples_per_s"] > 0).all()
    assert told["held_out_s"].sum() > 0
