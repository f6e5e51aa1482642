"""Ray's saved state: the newest counts, and what cannot be read is as if it were not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator
from ray.tune.stopper import NoopStopper, Stopper, TimeoutStopper
from ray.tune.utils.serialization import TuneFunctionEncoder

from gap_tune.records.saved_state import SavedState, is_saved_in


def write(folder: Path, name: str, *trials: Any) -> None:
    data = {"trial_data": [[json.dumps(trial), "{}"] for trial in trials]}
    (folder / f"experiment_state-{name}.json").write_text(json.dumps(data))


def test_the_newest_state_tells_status_name_and_order(tmp_path: Path) -> None:
    assert not is_saved_in(tmp_path)
    write(tmp_path, "1", {"trial_id": "old", "status": "RUNNING"})
    first = {"trial_id": "b", "status": "ERROR", "relative_logdir": "train_1_lr=1"}
    write(tmp_path, "2", first, {"trial_id": "a", "status": "TERMINATED"})
    saved = SavedState.read(tmp_path)
    assert is_saved_in(tmp_path)
    assert saved.statuses == {"b": "ERROR", "a": "TERMINATED"}
    assert [saved.trial_in(name) for name in ("train_1_lr=1", "train_a")] == ["b", "a"]
    assert [saved.place_of(name) for name in ("train_1_lr=1", "train_a")] == [0, 2]


def test_bug_trials_that_ray_first_saved_together_came_in_any_order(tmp_path: Path) -> None:
    tags = {"c": "3_lr=1", "a": "1_lr=2,momentum=0.9", "j": "10_lr=0.1@perturbed[lr=2]", "b": "2"}
    made = [
        {"trial_id": name, "status": "RUNNING", "relative_logdir": name, "experiment_tag": tag}
        for name, tag in tags.items()
    ]
    write(tmp_path, "1", *made)
    saved = SavedState.read(tmp_path)
    assert sorted(tags, key=saved.place_of) == ["a", "b", "c", "j"]
    assert [saved.trial_in(name) for name in tags] == list(tags)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"trial_data": 3}', '{"trial_data": [["{"]]}']
)
def test_a_state_that_cannot_be_read_has_no_trials(tmp_path: Path, text: str) -> None:
    (tmp_path / "experiment_state-1.json").write_text(text)
    assert SavedState.read(tmp_path) == SavedState()


def test_what_is_no_trial_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "1", 5, [], {"trial_id": "a"}, {"trial_id": "b", "status": "RUNNING"})
    assert SavedState.read(tmp_path).statuses == {"b": "RUNNING"}


def test_when_trials_began_is_known_of_those_that_have(tmp_path: Path) -> None:
    happened = {"a": '{"start_time": 12.5}', "b": '{"start_time": null}', "c": "{}", "d": "{"}
    trials = [
        [json.dumps({"trial_id": name, "status": "RUNNING"}), text]
        for name, text in happened.items()
    ]
    (tmp_path / "experiment_state-1.json").write_text(json.dumps({"trial_data": trials}))
    saved = SavedState.read(tmp_path)
    assert saved.began == {"a": 12.5}
    assert list(saved.statuses) == ["a", "b", "c", "d"]


class _Suggests(Searcher):
    """A searcher that saves nothing of its own."""

    def save(self, checkpoint_path: str) -> None:
        pass


def _saved_by_ray(folder: Path, stopper: Stopper, **state: Any) -> SavedState:
    """Return what is read of a search and a stopper as Ray saves them."""
    search = SearchGenerator(_Suggests("loss", "min"))
    search.set_state({"counter": 8, "finished": False, "experiment": None, **state})
    search.save_to_dir(str(folder), "2026")
    data = {"trial_data": [], "runner_data": {"_stopper": stopper}}
    (folder / "experiment_state-2026.json").write_text(json.dumps(data, cls=TuneFunctionEncoder))
    return SavedState.read(folder)


@pytest.mark.parametrize("planned", [24, 300, 70_000])
def test_what_a_search_was_asked_for_and_has_not_begun_is_to_come(
    tmp_path: Path, planned: int
) -> None:
    saved = _saved_by_ray(tmp_path, NoopStopper(), total_samples=planned)
    assert [saved.to_come(begun) for begun in (0, 8, planned)] == [planned, planned - 8, 0]


@pytest.mark.parametrize(
    ("stopper", "state"),
    [
        (NoopStopper(), {"total_samples": 24, "finished": True}),
        (NoopStopper(), {"total_samples": 2**63 - 1}),
        (TimeoutStopper(60), {"total_samples": 24}),
    ],
    ids=["searcher ran out", "endless", "time budget"],
)
def test_nothing_is_to_come_where_something_else_ends_the_search(
    tmp_path: Path, stopper: Stopper, state: dict[str, Any]
) -> None:
    assert _saved_by_ray(tmp_path, stopper, **state).to_come(8) == 0


def test_a_search_that_cannot_be_read_says_nothing_of_what_is_to_come(tmp_path: Path) -> None:
    _saved_by_ray(tmp_path, NoopStopper(), total_samples=24)
    for broken in (b"", b"not a pickle", b"\x80\x05}"):
        (tmp_path / "search_gen_state-2026.json").write_bytes(broken)
        assert SavedState.read(tmp_path).to_come(8) == 0
