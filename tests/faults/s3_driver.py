"""A driver to be killed that stores a study in S3: python -m ... ADDRESS ENDPOINT BUCKET HOLD."""

from __future__ import annotations

import sys
from typing import Any

import ray

from tests.faults.studies import tuner
from tests.object_storage import filesystem

PLAN: list[dict[str, Any]] = [{"seed": seed} for seed in (0, 1)]
# Checkpoints that a trial has saved when it waits to be killed.
SAVED = 3


def main(address: str, endpoint: str, bucket: str, hold: str) -> None:
    ray.init(address=address, log_to_driver=False, logging_level="error")
    plan = [{**config, "hold": hold, "hold_at": SAVED} for config in PLAN]
    tuner(bucket, plan, filesystem=filesystem(endpoint)).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
