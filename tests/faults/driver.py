"""A driver to be killed: python -m tests.faults.driver ADDRESS STORAGE."""

from __future__ import annotations

import sys

import ray

from gap_tune import Study

ARMS = ("gap", "fixed:0.9")
EPOCHS = 12


def make(storage: str) -> Study:
    return Study("digits-resnet", ARMS, seeds=1, epochs=EPOCHS, storage=storage)


if __name__ == "__main__":
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    make(sys.argv[2]).run()
