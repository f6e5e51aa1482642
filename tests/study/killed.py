"""A driver to be killed: python -m tests.study.killed ADDRESS STORAGE."""

from __future__ import annotations

import sys
from pathlib import Path

import ray

from gap_tune import Study
from gap_tune.study import Resources

# Deterministic ones: a search of one trial is its recipe.
ARMS = ("fixed:0.5|0.9", "optuna:1")
EPOCHS = 10


def make(storage: Path | str) -> Study:
    return Study(
        "quadratic",
        ARMS,
        # Slow enough to be killed in time.
        workload_options={"dimension": 100, "samples": 16384},
        seeds=2,
        epochs=EPOCHS,
        reports_per_epoch=1,
        resources=Resources(cpus=2),
        storage=storage,
    )


if __name__ == "__main__":
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    make(sys.argv[2]).run()
