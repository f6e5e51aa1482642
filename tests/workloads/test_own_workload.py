from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from gap_tune.training.local import run
from gap_tune.workloads import Workload, get_workload, registry

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])


def test_the_example_learns_by_its_import_path_and_has_every_default() -> None:
    task = get_workload("06_own_workload:Spirals", {"turns": 0.5})
    assert isinstance(task, Workload)
    assert task.turns == 0.5  # type: ignore[attr-defined]
    assert (task.name, task.family, task.lr) == ("06_own_workload:Spirals", "sgd", 0.1)
    config = {
        "workload": "06_own_workload:Spirals",
        "workload_options": {"turns": 0.5},
        "epochs": 6,
    }
    assert run(config)[-1]["test_accuracy"] > 0.9


def test_an_entry_point_gives_a_workload_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("spirals", "06_own_workload:Spirals", registry.ENTRY_POINTS)
    monkeypatch.setattr(
        registry, "entry_points", lambda **chosen: EntryPoints([point]).select(**chosen)
    )
    assert get_workload("spirals").name == "spirals"
