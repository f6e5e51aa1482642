from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.panel.settings import read_settings
from gap_tune.records.suites import RUNS_FILE, note_path, read_runs
from gap_tune.study.suite.journal import Journal
from tests.study.suite.jobs import SMALL, small


def line(seed: int, **more: Any) -> dict[str, Any]:
    return {"setting": "one", "arm": "gap", "lr": 0.1, "seed": seed, **more}


def test_half_a_line_is_passed_over_and_spoils_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(line(0))
    whole = (tmp_path / RUNS_FILE).read_bytes()
    for cut in range(1, len(whole)):
        (tmp_path / RUNS_FILE).write_bytes(whole + whole[:cut])
        journal.append(line(1))
        assert [row["seed"] for row in read_runs(tmp_path)] == [0, 1]


def test_of_a_run_done_twice_the_later_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for status in ("failed", "finished"):
        journal.append(line(0, status=status))
    assert read_runs(tmp_path) == [line(0, status="finished")]


def test_a_folder_belongs_to_one_suite(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out")
    note = journal.begin(small("gap").describe())
    assert journal.begin(small("gap").describe()) == note
    # Other arms belong to the same suite.
    assert journal.begin(small("gap-trial").describe()) == note
    assert json.loads((journal.folder / "suite.json").read_text()) == note
    longer = small("gap", setting=replace(SMALL, epochs=3))
    with pytest.raises(StateError, match=r"the settings must be those .* started with"):
        journal.begin(longer.describe())
    fewer = replace(small("gap"), seeds=1, lr_count=1)
    with pytest.raises(StateError, match="the seeds and lr_count must be those that the suite in"):
        journal.begin(fewer.describe())


def test_a_folder_of_one_half_may_be_extended_to_both(tmp_path: Path) -> None:
    panel, journal = read_settings(), Journal(tmp_path)
    half = journal.begin(panel.of_half("development").describe())
    note = journal.begin(panel.of_half("held-out").describe())
    assert {each["name"] for each in note["settings"]} == {each.name for each in panel.settings}
    assert note["settings"][: len(half["settings"])] == half["settings"]
    assert {each["half"] for each in note["settings"]} == {"development", "held-out"}
    # It is written, and asking for less, or for all, changes nothing.
    for again in ("development", "both"):
        assert journal.begin(panel.of_half(again).describe()) == note
    first = panel.settings[0]
    other = replace(panel, settings=(replace(first, epochs=first.epochs + 1),))
    with pytest.raises(StateError, match="the settings must be those"):
        journal.begin(other.describe())


@pytest.mark.parametrize("key", ["rule", "version"])
def test_another_default_rule_or_version_is_refused(tmp_path: Path, key: str) -> None:
    journal = Journal(tmp_path / "out", "panel")
    described = small("gap").describe()
    note = journal.begin(described)
    note_path(journal.folder, "panel").write_text(json.dumps({**note, key: "another"}))
    with pytest.raises(StateError, match=f"the {key} must be those that the panel in"):
        journal.begin(described)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_note_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "panel.json").write_text(text)
    with pytest.raises(StateError, match="must be a panel's note"):
        Journal(tmp_path, "panel").begin(small("gap").describe())


def test_two_suites_cannot_share_a_folder(tmp_path: Path) -> None:
    first, second = Journal(tmp_path), Journal(tmp_path)
    with (
        first.held(),
        pytest.raises(InvalidValueError, match="no other suite runs in"),
        second.held(),
    ):
        pass
    with second.held():
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidValueError, match="can be written"),
        Journal(tmp_path / "file" / "out").held(),
    ):
        pass
