"""Names and errors of trials in terminals, logs and documents: shown, and steering nothing."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gap_tune import cli
from gap_tune.cli import document, reporting
from gap_tune.cli.group import OneLine
from gap_tune.formatting import as_reported
from gap_tune.records.experiments import read_experiment
from gap_tune.study.store import Store
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.monitoring.progress.tracker import Tracker
from gap_tune.tune.monitoring.progress.trials import Shown
from gap_tune.tune.monitoring.progress.views import Events, Failures, Lines, View
from tests.security.results import write_trial
from tests.tune.drawing import HOSTILE, drawn, terminal, trial

PACKAGE = Path(cli.__file__).parents[1]
# Sequences of seven and of eight bits, one that turns text around, and half a character.
STEERING = HOSTILE + "\x9b2J\x85\u202eabc\ud800"
SHOWN = Shown("epoch", 30, STEERING, "min", "validation_loss", "validation_accuracy")


def harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def hostile(status: str = "RUNNING") -> Any:
    made = trial(0, status, **{STEERING: 0.5})
    made.config = {"arm": STEERING, "seed": STEERING}
    made.trial_id = STEERING
    return made


def test_bug_a_metric_steers_the_terminal_of_the_live_screen() -> None:
    lines = drawn([hostile(), hostile("TERMINATED")], terminal(200), total=2, shown=SHOWN)
    assert any("owned" in line for line in lines)
    assert all(map(harmless, lines))


@pytest.mark.parametrize("view", [Lines, Events, Failures])
def test_bug_a_name_steers_the_terminal_that_lines_are_written_to(view: type[View]) -> None:
    file = io.StringIO()
    tracker = Tracker(2, SHOWN)
    shown = view(Console(file=file), SHOWN, tracker)
    ended = hostile("ERROR")
    tracker.end(ended, failed=True)
    shown.started(hostile())
    shown.reported(hostile(), {STEERING: STEERING})
    shown.ended(ended, failed=True, reason=STEERING)
    snapshot = tracker.look([hostile(), ended], 1.0)
    shown.refresh(snapshot)
    shown.close(snapshot)
    assert "owned" in file.getvalue()
    assert harmless(file.getvalue())
    if view is Events:
        assert all(json.loads(line) for line in file.getvalue().splitlines())


def test_bug_a_whole_number_of_thousands_of_digits_ends_the_screen() -> None:
    for number in (10**5000, -(10**5000), 10**25):
        assert len(as_reported(number)) < 20
    assert as_reported(12345678901234567890) == "12345678901234567890"
    assert any("Infinity" in line for line in drawn(
        [trial(0, epoch=10**5000)], terminal(200), total=1))  # fmt: skip


def test_complaints_about_what_came_write_one_plain_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    complain = Complaints()
    complain(f"a rule must be known, but got {STEERING} %s")
    complain(STEERING, SimpleNamespace(trial_id="a"), ValueError(STEERING))
    assert len(caplog.messages) == 2
    assert all(harmless(message) and "\n" not in message for message in caplog.messages)


def test_bug_an_error_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    OneLine(f"folder must be one, but got {STEERING}.").show()
    said = capsys.readouterr().err
    assert "owned" in said
    assert harmless(said)


def test_bug_a_document_steers_the_terminal_and_half_a_character_ends_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with document.document("comparison", wanted=True) as made:
        made["arms"] = [{STEERING: STEERING, "π": "∑"}]
    said = capsys.readouterr().out
    assert harmless(said)
    assert "∑" in said
    assert json.loads(said)["arms"] == [{STEERING: STEERING, "π": "∑"}]


FOLDERS = ["[/bold]", "[red]x", "a:bug:b", "x\x1b[2Jy"]


@pytest.mark.parametrize("name", FOLDERS)
def test_bug_a_folder_named_like_markup_ends_the_report(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / name
    write_trial(folder, "a")
    records = read_experiment(folder, metric="loss", mode="min")
    file = io.StringIO()
    reporting.present(records, folder, Store(folder), Console(file=file, width=80))
    assert f"{name.replace(chr(27), '?')}/report.html" in file.getvalue()
    assert harmless(file.getvalue())


def printed() -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of a console's print in the package, each with its place."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                on = ast.unparse(node.func.value)
                if node.func.attr == "print" and "onsole" in on:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_what_is_not_written_in_the_code_is_never_printed_as_markup() -> None:
    calls = list(printed())
    assert len(calls) > 15
    for place, call in calls:
        plain = any(
            k.arg == "markup" and not getattr(k.value, "value", True) for k in call.keywords
        )
        if not call.args:
            # An empty line.
            continue
        (what,) = call.args
        # Text and tables are no markup; of an f-string, and of a name, nobody knows.
        assert plain or not isinstance(what, ast.JoinedStr | ast.BinOp) or _of_numbers(what), place


def _of_numbers(text: ast.AST) -> bool:
    """Tell whether all that an f-string takes in is formatted as a number."""
    values = [part for part in ast.walk(text) if isinstance(part, ast.FormattedValue)]
    known = ("len(", "suite.", "done", "family.")
    return all(ast.unparse(part.value).startswith(known) for part in values)
