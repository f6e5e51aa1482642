"""Population based training where trials fail."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.study.methods.population import Population

REPORTS = 5


def trial(config: dict[str, Any]) -> None:
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads(Path(folder, "i").read_text()) + 1
    for i in range(start, REPORTS):
        # By its id: exploiting another trial takes over that one's configuration.
        if tune.get_context().get_trial_id().endswith(f"_0000{config['fails']}") and i == 3:
            raise RuntimeError("out of memory")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "i").write_text(json.dumps(i))
            kept = tune.Checkpoint.from_directory(folder)
            tune.report({"loss": config["lr"], "i": i}, checkpoint=kept)


@pytest.mark.slow
@pytest.mark.parametrize("fails", [0, 2])
def test_bug_the_others_do_not_wait_for_a_trial_that_has_failed(
    ray_address: str, tmp_path: Path, fails: int
) -> None:
    grid = tune.Tuner(
        trial,
        param_space={
            "lr": tune.uniform(0.1, 1.0),
            "fails": fails,
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=3,
            scheduler=Population(
                time_attr="training_iteration",
                perturbation_interval=2,
                hyperparam_mutations={"lr": tune.uniform(0.1, 1.0)},
                synch=True,
            ),
        ),
        # Ends a study that waits for ever.
        run_config=tune.RunConfig(
            storage_path=str(tmp_path), verbose=0, stop={"training_iteration": REPORTS}
        ),
    ).fit()
    assert len(grid.errors) == 1
    assert "out of memory" in str(grid.errors[0])
    ended = [result for result in grid if result.error is None]
    assert [result.metrics["i"] for result in ended] == [REPORTS - 1] * 2  # type: ignore[index]
