"""Which processes are workers of Ray Train, in both of its generations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = """
import os, sys
import ray
from ray import tune
from gap_tune.tune.ray_private.workers import is_worker

def train(config):
    tune.report({"generation": os.environ["RAY_TRAIN_V2_ENABLED"], "worker": is_worker()})

assert not is_worker()
generation = os.environ["RAY_TRAIN_V2_ENABLED"]
variables = {"RAY_TRAIN_V2_ENABLED": generation}
ray.init(address=sys.argv[1], runtime_env={"env_vars": variables}, log_to_driver=False)
(result,) = tune.Tuner(train, run_config=tune.RunConfig(storage_path=sys.argv[2], verbose=0)).fit()
assert result.metrics["generation"] == generation
assert result.metrics["worker"] is False
"""


@pytest.mark.parametrize("generation", ["0", "1"])
def test_bug_a_plain_trial_and_a_process_without_ray_are_no_workers(
    ray_address: str, tmp_path: Path, generation: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUDY, ray_address, str(tmp_path)],
        env={**os.environ, "RAY_TRAIN_V2_ENABLED": generation},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
