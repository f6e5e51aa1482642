"""GapSearch: a study that is resumed goes on with the suggestions of one never interrupted."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter, SearchGenerator
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapSearch
from gap_tune.errors import StateError
from tests.tune.searching import leaning, report

SPACE = {
    "lr": tune.loguniform(1e-3, 1.0),
    "width": tune.choice([8, 16, 32]),
    "layers": tune.randint(1, 5),
}
TRIALS = 30
POINTS = [{"lr": 0.5, "width": 8, "layers": 2}]


def bare() -> GapSearch:
    return GapSearch(OptunaSearch(seed=0, points_to_evaluate=POINTS), lr="lr")


def limited() -> ConcurrencyLimiter:
    return ConcurrencyLimiter(bare(), 4)


def limiting() -> GapSearch:
    inner = ConcurrencyLimiter(OptunaSearch(seed=0, points_to_evaluate=POINTS), 4)
    return GapSearch(inner, lr="lr")


def prepared(make: Callable[[], Any]) -> Any:
    search = make()
    assert search.set_search_properties("loss", "min", SPACE)
    return search


def drive(search: Any, begin: int, end: int) -> list[dict[str, Any]]:
    """Start trials begin .. end-1; each reports at once and ends two trials later, its own way."""
    suggestions = []
    for i in range(begin, end):
        config = search.suggest(f"trial {i}")
        suggestions.append(config)
        lr = config["gap"]["searched_lr"]
        best = {8: 0.8, 16: 0.95, 32: 0.99}[config["width"]]
        search.on_trial_result(f"trial {i}", report(leaning(best, scale=lr), lr))
        if i >= 2:
            ending: dict[str, Any] = {"result": {"loss": (i * 7 % 5) + lr, "training_iteration": 1}}
            ending = {3: {"error": True}, 4: {"result": {"loss": float("nan")}}}.get(i % 5, ending)
            search.on_trial_complete(f"trial {i - 2}", **ending)
    return suggestions


@pytest.mark.parametrize("make", [bare, limited, limiting])
def test_ray_resumes_a_study_with_the_next_suggestions_of_an_uninterrupted_one(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    search = prepared(make)
    expected = drive(search, 0, TRIALS)
    assert expected[0]["gap"]["searched_lr"] == 0.5
    assert {c["momentum"] for c in expected} == {0.8, 0.9, 0.95, 0.99}
    search = prepared(make)
    before = 0
    for i in (1, 4, 13, 22):
        drive(search, before, i)
        before = i
        folder = tmp_path / str(i)
        folder.mkdir()
        SearchGenerator(search).save_to_dir(str(folder), "session")
        resumed = prepared(make)
        SearchGenerator(resumed).restore_from_dir(str(folder))
        assert drive(resumed, i, TRIALS) == expected[i:]


@pytest.mark.parametrize("make", [bare, limiting])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_file_that_a_user_saves_holds_the_seeds_and_the_searcher(
    make: Callable[[], Any], fresh: bool, tmp_path: Path
) -> None:
    expected = drive(prepared(make), 0, TRIALS)
    search = prepared(make)
    before = 0
    for i in (1, 12, 21):
        drive(search, before, i)
        before = i
        search.save(str(tmp_path / "search.pkl"))
        # A searcher that was never told the space finds it in the file.
        resumed = make() if fresh else prepared(make)
        resumed.restore(str(tmp_path / "search.pkl"))
        assert drive(resumed, i, TRIALS) == expected[i:]
    assert [path.name for path in tmp_path.iterdir()] == ["search.pkl"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.pkl"
    for content in (b"", b"garbage", b"\x80\x04]\x94."):
        path.write_bytes(content)
        with pytest.raises(StateError, match=r"must be one that GapSearch\.save wrote"):
            bare().restore(str(path))
    prepared(bare).searcher.save(str(path))
    with pytest.raises(StateError, match=r"must be one that GapSearch\.save wrote"):
        bare().restore(str(path))
    prepared(bare).save(str(path))
    with pytest.raises(StateError, match=r"\['GapSearch'\] for \['GapSearch', 'Concurr"):
        limiting().restore(str(path))
    with pytest.raises(StateError, match="version 1, but got None"):
        bare().set_state({})


def test_bug_a_searcher_that_was_pickled_before_pairs_goes_on() -> None:
    """Ray keeps the searcher in tuner.pkl, and takes that of an earlier version when it resumes."""
    search = prepared(bare)
    old = dict(vars(search))
    completing = old.pop("_completing")
    del old["_pairs"]
    for name in ("reference", "betas2", "axes", "places", "mode_of_all", "rule_of_all"):
        old[f"_{name}"] = vars(completing)[name if name == "places" else f"_{name}"]
    restored = GapSearch.__new__(GapSearch)
    restored.__setstate__(pickle.loads(pickle.dumps(old)))
    assert [restored.suggest(f"trial {i}") for i in range(3)] == [
        search.suggest(f"trial {i}") for i in range(3)
    ]
    assert restored.trials_of(5) == 5
