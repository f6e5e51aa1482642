"""A suite of any settings is journaled, continued where it was stopped, and extended by arms."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gap_tune.errors import StateError
from gap_tune.records.suites import RUNS_FILE, read_note
from gap_tune.study import Job, Suite, parse_arm, run_suite
from gap_tune.study.conditions import Conditions
from gap_tune.study.suite.remaining import Remaining
from gap_tune.study.suite.runner import Done

TASK = {"workload": "logistic", "family": "sgd", "batch_size": 8, "epochs": 1}
TWO = {
    name: Conditions({**TASK, "epochs": epochs}, 0.1, (0.1, 0.1), "validation_loss", "min")
    for name, epochs in (("short", 1), ("long", 2))
}


class Canned:
    """A runner that trains nothing.

    Args:
        most: After how many runs it is interrupted.
        status: How they end.
    """

    def __init__(self, most: int | None = None, status: str = "finished") -> None:
        self.done: list[Job] = []
        self._most = most
        self._status = status

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        for job in jobs:
            if len(self.done) == self._most:
                raise KeyboardInterrupt
            names = ("setting", "arm", "lr", "seed")
            done({**{name: job.config[name] for name in names}, "status": self._status})
            self.done.append(job)


@pytest.fixture
def suite() -> Suite:
    return Suite(TWO, (parse_arm("gap"), parse_arm("fixed:0.5")), 2, 10.0, 3)


def keys(jobs: Sequence[Job]) -> list[Any]:
    return [job.key for job in jobs]


def test_a_suite_goes_on_where_it_was_stopped(tmp_path: Path, suite: Suite) -> None:
    first, second, third = Canned(most=5), Canned(), Canned()
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path, first)
    before = (tmp_path / RUNS_FILE).read_bytes()
    note, rows = run_suite(suite, tmp_path, second)
    assert keys(first.done) + keys(second.done) == keys(suite.jobs())
    assert (tmp_path / RUNS_FILE).read_bytes().startswith(before)
    assert [(row["setting"], row["arm"], row["lr"], row["seed"]) for row in rows] == keys(
        suite.jobs()
    )
    assert note == read_note(tmp_path) == json.loads((tmp_path / "suite.json").read_text())
    assert [each["name"] for each in note["settings"]] == ["short", "long"]
    assert run_suite(suite, tmp_path, third) == (note, rows)
    assert not third.done


def test_more_arms_are_added_to_a_finished_suite(tmp_path: Path, suite: Suite) -> None:
    _, before = run_suite(suite, tmp_path, Canned())
    wider, added = replace(suite, arms=(*suite.arms, parse_arm("switch"))), Canned()
    _, rows = run_suite(wider, tmp_path, added)
    assert {job.config["arm"] for job in added.done} == {"switch"}
    assert len(rows) == len(before) * 3 // 2
    # Those of the first arms are still read, also without the new one.
    assert run_suite(suite, tmp_path, Canned(most=0))[1] == before


def test_failed_runs_are_tried_again(tmp_path: Path, suite: Suite) -> None:
    run_suite(suite, tmp_path, Canned(status="failed"))
    again = Canned()
    _, rows = run_suite(suite, tmp_path, again)
    assert keys(again.done) == keys(suite.jobs())
    assert {row["status"] for row in rows} == {"finished"}


def test_the_owner_says_what_the_note_holds_and_is_called(tmp_path: Path, suite: Suite) -> None:
    described = {**suite.describe(), "margin": 0.03}
    note, _ = run_suite(suite, tmp_path, Canned(), kind="trial", described=described)
    assert note["margin"] == read_note(tmp_path, "trial")["margin"] == 0.03
    other = {**described, "margin": 0.05}
    with pytest.raises(StateError, match="the margin must be those that the trial in"):
        run_suite(suite, tmp_path, Canned(), kind="trial", described=other)


def test_outside_of_a_terminal_the_rest_is_told_every_half_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 20.0, 40.0, 50.0])
    monkeypatch.setattr("gap_tune.study.suite.remaining.time.monotonic", lambda: next(clock))
    file = io.StringIO()
    with Remaining(10, 2, Console(file=file)) as remaining:
        for _ in range(3):
            remaining.advance()
    assert file.getvalue() == "4 of 10 runs, about 2 min left\n"
