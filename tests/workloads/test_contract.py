"""Every workload of the table, and the example of one's own, against the contract."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from gap_tune.testing import WorkloadContract
from gap_tune.workloads import WORKLOADS
from tests.workloads.data import cases

# The quadratic judges by samples without noise, which are all alike; a licence repeats itself, and
# so do images and answers that are made up.
RECURRING = ("quadratic", "cifar10", "cifar100", "language", "characters")
# Two steps on a few images of noise.
UNLEARNED = ("vit", "fashion-mnist")


class OnSmallData(WorkloadContract):
    """A workload on the small data that tests write."""

    @pytest.fixture(autouse=True)
    def small_data(self, root: Path) -> None:
        self.root = root


def contract(name: str) -> type[WorkloadContract]:
    """Return the workload as the class that a user would write."""

    def config(self: OnSmallData) -> dict[str, Any]:
        return cases(self.root)[name].config()

    attributes = {
        "has_distinct_samples": name not in RECURRING,
        "learns": name not in UNLEARNED,
        "config": config,
    }
    title = name.title().replace("-", "")
    return type(f"Test{title}", (OnSmallData,), attributes)


globals().update({kind.__name__: kind for kind in map(contract, WORKLOADS)})


class TestAWorkloadOfOnesOwn(WorkloadContract):
    @pytest.fixture(autouse=True)
    def examples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = Path(__file__).parents[2] / "examples"
        monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])

    def config(self) -> dict[str, Any]:
        return {"workload": "06_own_workload:Spirals", "workload_options": {"turns": 0.5}}
