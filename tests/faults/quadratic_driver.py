"""A driver to be killed: python -m tests.faults.quadratic_driver ADDRESS STORAGE."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ray
from ray import tune

from tests.faults.studies import tuner
from tests.faults.workload import descend

# Slow enough to be killed in time.
PLAN: list[dict[str, Any]] = [{"seed": seed, "pause_s": 0.3} for seed in range(3)]


def main(address: str, storage: Path) -> None:
    ray.init(address=address, log_to_driver=False, logging_level="error")
    study = str(storage / "study")
    if tune.Tuner.can_restore(study):
        tune.Tuner.restore(study, descend, resume_unfinished=True).fit()
    else:
        tuner(storage, PLAN).fit()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
