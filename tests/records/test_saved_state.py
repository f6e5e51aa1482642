"""Ray's saved state: the newest counts, and what cannot be read is as if it were not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"trial_data": 3}', '{"trial_data": [["{"]]}']
)
def test_a_state_that_cannot_be_read_has_no_trials(tmp_path: Path, text: str) -> None:
    (tmp_path / "experiment_state-1.json").write_text(text)
    assert SavedState.read(tmp_path) == SavedState()


def test_what_is_no_trial_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "1", 5, [], {"trial_id": "a"}, {"trial_id": "b", "status": "RUNNING"})
    assert SavedState.read(tmp_path).statuses == {"b": "RUNNING"}
