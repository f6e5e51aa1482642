"""Search methods: those of this package, and one of others by entry point."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from ray.tune.search import BasicVariantGenerator

from gap_tune import Study, cli
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.study import Search, SearchMethod, SearchTask, parse_arm
from gap_tune.study.methods import table
from gap_tune.study.methods.population import Population
from gap_tune.tune import GapScheduler


@dataclass(frozen=True)
class Ends(SearchMethod):
    """Tries the ends of the learning rates."""

    name = "ends"
    fewest = 2

    trials: int = 2

    def search(self, task: SearchTask) -> Search:
        space, _ = task.space(task.family_momentum())
        ends = [{"lr": bound} for bound in task.conditions.lr_range_of(task.arm)]
        searcher = BasicVariantGenerator(points_to_evaluate=ends, random_state=task.seed)
        return Search(space, task.trials, searcher, GapScheduler())


@dataclass(frozen=True)
class Unfinished(SearchMethod):
    """Lacks its search."""

    name = "unfinished"


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    paths = {
        "ends": f"{__name__}:Ends",
        "unfinished": f"{__name__}:Unfinished",
        "other-name": f"{__name__}:Ends",
        "counter": "collections:Counter",
        "nowhere": "nowhere:Method",
        # gap_tune's own names stay what they are.
        "optuna": f"{__name__}:Ends",
        "switch": f"{__name__}:Ends",
    }
    points = EntryPoints([EntryPoint(n, path, table.ENTRY_POINTS) for n, path in paths.items()])
    monkeypatch.setattr(table, "entry_points", lambda **chosen: points.select(**chosen))
    table._entry_point.cache_clear()
    yield
    table._entry_point.cache_clear()


def test_every_method_of_the_package_is_an_arm_at_its_usual_trials() -> None:
    assert {name: parse_arm(name).trials for name in table.METHODS} == {
        "optuna": 8,
        "asha": 8,
        "median": 8,
        "pbt": 4,
    }
    for name, method in table.METHODS.items():
        assert parse_arm(name).search == method()
        assert parse_arm(f"{name}:3").search == method(3)
        assert parse_arm(name).is_fixed


def test_an_entry_point_gives_a_method_its_name(entry_points: None, tmp_path: Path) -> None:
    arm = parse_arm("ends")
    assert (arm.search, arm.trials, parse_arm("ends:5").trials) == (Ends(), 2, 5)
    assert parse_arm("optuna").trials == 8
    assert parse_arm("switch").family == "switch"
    with pytest.raises(InvalidValueError, match="trials of the arm ends must be an integer of at"):
        parse_arm("ends:1")
    with pytest.raises(InvalidValueError, match="arm must be one of"):
        parse_arm("ends:")
    budget: dict[str, Any] = {"budget": "trials:1", "storage": tmp_path}
    with pytest.raises(InvalidValueError, match="trials of the arm ends must be an integer of at"):
        Study("quadratic", ["ends"], **budget)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("counter", "must be a subclass of SearchMethod, but got <class 'collections.Counter'>"),
        ("unfinished", "must have a method search and that name, but got Unfinished"),
        ("other-name", "must have a method search and that name, but got Ends"),
        ("nowhere", "must name a class that can be imported, but got: No module named 'nowhere'"),
    ],
)
def test_an_entry_point_that_leads_to_no_method_is_refused(
    entry_points: None, name: str, complaint: str
) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        parse_arm(name)


def test_a_population_that_was_saved_before_the_move_is_found(tmp_path: Path) -> None:
    (run,) = Study("quadratic", ["pbt"], seeds=1, storage=tmp_path).runs()
    saved = cloudpickle.dumps(run.search.make().scheduler, protocol=0)
    before = saved.replace(b"cgap_tune.study.methods.pbt\n", b"cgap_tune.study.searches\n")
    assert before != saved
    assert type(pickle.loads(before)) is Population


@pytest.mark.slow
def test_a_method_of_others_is_an_arm_of_a_study(
    ray_address: str,
    entry_points: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "study.yaml").write_text(
        "workload: quadratic\n"
        "workload_options: {dimension: 10, samples: 256}\n"
        "arms: [gap, ends]\n"
        "seeds: 1\n"
        "epochs: 1\n"
        "lr_range: [0.01, 0.2]\n"
    )
    out = tmp_path / "out"
    commands = [["compare", str(tmp_path / "study.yaml"), "--out", str(out)], ["resume", str(out)]]
    for arguments in commands:
        monkeypatch.setattr(sys, "argv", ["gap-tune", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert not stopped.value.code, captured.err
        assert "3 trials: 2 arms x 1 seeds" in captured.out
    study = Study.restore(out)
    assert [run.search.arm for run in study.runs()] == [None, "ends"]
    trials = study.records().trials
    assert trials["status"].to_list() == ["finished"] * 3
    configs = [json.loads(p.read_text()) for p in out.glob("runs/ends_seed0/*/params.json")]
    assert sorted(config["lr"] for config in configs) == [0.01, 0.2]
