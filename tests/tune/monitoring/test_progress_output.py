"""Where progress goes: terminals, pipes, JSON, loggers, readers that go away."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pty
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gap_tune.errors import InvalidValueError
from gap_tune.tune.monitoring.progress import Progress, callback
from gap_tune.tune.monitoring.progress.pace import Pace
from tests.tune.conftest import Run
from tests.tune.drawing import HOSTILE, drawn, terminal, trial, written


def in_terminal(environment: dict[str, str], **options: Any) -> str:
    """Return what a real terminal is sent of a study."""
    ours, theirs = pty.openpty()
    sent: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(ours, sent))
    reader.start()
    with os.fdopen(theirs, "w") as file:
        console = Console(file=file, width=80, height=24, _environ=environment)
        progress = Progress(2, console=console, epochs=30, **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(callback, "Pace", lambda every_s: Pace(0.0))
            progress.setup()
        trials = [trial(1), trial(2)]
        progress.on_step_end(iteration=0, trials=trials)
        progress.on_trial_complete(iteration=0, trials=trials, trial=trials[0])
        progress.on_experiment_end(trials=trials)
    reader.join()
    os.close(ours)
    return b"".join(sent).decode()


def read_all(terminal: int, sent: list[bytes]) -> None:
    """Read what a terminal is sent until nobody has it open any more, which is an error there."""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            sent.append(part)


def colours(text: str) -> list[str]:
    codes = [part.split("m")[0] for part in text.split("\x1b[")[1:]]
    return [c for c in codes if any(n[:1] in "349" and len(n) == 2 for n in c.split(";"))]


def test_a_terminal_has_one_screen_and_its_cursor_back() -> None:
    sent = in_terminal({"TERM": "xterm-256color"})
    assert "━" in sent
    assert colours(sent)
    assert sent.index("\x1b[?25l") < sent.index("0 of 2 finished") < sent.index("\x1b[?25h")


def test_no_color_means_no_colour() -> None:
    sent = in_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert "━" in sent
    assert not colours(sent)


def test_a_dumb_terminal_has_plain_lines() -> None:
    sent = in_terminal({"TERM": "dumb"})
    assert "\x1b" not in sent
    assert "seed 1: finished (1 of 2)" in sent


def test_names_cannot_steer_the_terminal() -> None:
    hostile = trial(1)
    hostile.config["arm"] = HOSTILE
    text = "\n".join(drawn([hostile], terminal(), total=1))
    assert not set(text) & {"\x1b", "\x07"}
    assert "[red]x" in text
    console = Console(file=io.StringIO())
    progress = Progress(1, console=console)
    progress.setup()
    progress.on_trial_complete(iteration=0, trials=[], trial=hostile)
    assert not set(written(console)) & {"\x1b", "\x07"}
    assert written(console).count("\n") == 1


@pytest.mark.slow
def test_a_real_study_as_lines_of_json(run: Run, tmp_path: Path) -> None:
    plan: list[dict[str, Any]] = [
        {"arm": "gap", "seed": 1, "bad_metric_at": 5},
        {"arm": "gap", "seed": 2, "epochs": 3},
        {"arm": "gap", "seed": 3, "fails": True},
        {"arm": "gap", "seed": 4, "kill_at": 1, "kill_marker": str(tmp_path / "killed")},
    ]
    with (tmp_path / "log").open("w") as log:
        console = Console(file=log)
        keys = {"metric": "loss", "loss": "loss", "epoch": "training_iteration"}
        progress = Progress(len(plan), style="json", console=console, **keys)
        run(plan, callbacks=[progress])
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(e["event"] for e in events) == {
        "started": 4,
        # One each; the trial that failed at once had nothing to report.
        "reported": 3,
        "finished": 1,
        "failed": 3,
        "ended": 1,
    }
    (finished,) = (e for e in events if e["event"] == "finished")
    assert (finished["arm"], finished["seed"]) == ("gap", 2)
    assert finished["result"]["training_iteration"] == 3
    assert finished["result"]["gap/seq"] == 2
    reasons = {e["seed"]: e["reason"] for e in events if e["event"] == "failed"}
    assert reasons[3] == "ValueError: a bug in a user's function"
    assert reasons[4].startswith("The actor died")
    assert "loss" in reasons[1]
    last = events[-1]
    assert (last["finished"], last["failed"], last["pending"], last["total"]) == (1, 3, 0, 4)
    assert last["best"]["trial"] == "gap seed 2"
    assert last["best"]["value"] == finished["result"]["loss"]


def test_json_has_null_where_it_has_no_number() -> None:
    console = Console(file=io.StringIO())
    progress = Progress(1, style="json", console=console)
    progress.setup()
    result = {"validation_loss": float("nan"), "epoch": float("inf"), "gap/seq": 2}
    progress.on_trial_result(iteration=0, trials=[], trial=trial(1), result=result)
    (event,) = map(json.loads, written(console).splitlines())
    assert event["result"] == {"validation_loss": None, "epoch": None, "gap/seq": 2}


def test_quiet_says_what_failed_and_nothing_else() -> None:
    console = Console(file=io.StringIO())
    progress = Progress(2, style="quiet", console=console)
    progress.setup()
    progress.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    progress.on_trial_error(iteration=0, trials=[], trial=trial(2, "ERROR"))
    progress.on_experiment_end(trials=[])
    assert written(console) == "trainable-diagonal seed 2: failed, reason unknown\n"


def test_showing_takes_one_per_cent_of_the_time_at_most() -> None:
    now, shown_at = 0.0, []

    def clock() -> float:
        return now

    pace = Pace(0.5, clock=clock)
    while now < 60.0:
        now += 0.01
        if pace.due():
            shown_at.append(now)
            with pace.shown():
                now += 0.001 if now < 10.0 else 0.04
    early = [t for t in shown_at if t < 10.0]
    assert 19 <= len(early) <= 20
    # Forty milliseconds every four seconds.
    assert 12 <= len(shown_at) - len(early) <= 13


def test_an_exception_in_it_never_reaches_the_study(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "Pace", lambda every_s: Pace(0.0))
    progress = Progress(2, console=terminal(), style="table")
    progress.setup()
    progress.on_trial_complete(iteration=0, trials=[], trial=None)
    assert "on_trial_complete failed" in caplog.text
    for _ in range(3):
        progress.on_step_end(iteration=0, trials=[None])
    # What fails once is not tried again and again.
    assert caplog.text.count("on_step_end failed") == 1
    progress.on_experiment_end(trials=[])


def test_a_reader_that_goes_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as file, caplog.at_level(logging.WARNING):
        progress = Progress(2, console=Console(file=file))
        progress.setup()
        for number in (1, 2):
            progress.on_trial_complete(iteration=0, trials=[], trial=trial(number, "TERMINATED"))
        assert caplog.text.count("can no longer be written") == 1
        assert "Traceback" not in caplog.text
        # What could not be written would be written again when the file closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "down"}, "mode must be 'min' or 'max'"),
        ({"epochs": 0}, "epochs must be a number"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Progress(2, **options)
