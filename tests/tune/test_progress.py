from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import pty
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from gap_tune.errors import InvalidValueError
from gap_tune.tune.progress import Progress
from gap_tune.tune.progress.pace import Pace
from gap_tune.tune.progress.table import Screen
from gap_tune.tune.progress.tracker import Tracker
from gap_tune.tune.progress.trials import Shown
from tests.tune.conftest import Run
from tests.tune.functions import quadratic

SHOWN = Shown("epoch", 30, "validation_loss", "min", "validation_loss", "validation_accuracy")
# What a terminal can do to itself and to its reader.
HOSTILE = "\x1b]0;owned\x07\x1b[2J\n[red]x"


def trial(number: int, status: str = "RUNNING", **result: Any) -> Any:
    last = {"epoch": 12.25, "validation_loss": 0.0123456, "validation_accuracy": 0.9876}
    return SimpleNamespace(
        trial_id=f"id{number}",
        trainable_name="train",
        status=status,
        config={"arm": "trainable-diagonal", "seed": number},
        run_metadata=SimpleNamespace(
            last_result={**last, "gap/momentum": 0.95, "gap/seq": 123, **result}
        ),
        error_file=None,
    )


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, no_color=True
    )


def drawn(
    trials: list[Any], console: Console, *, total: int | None, shown: Shown = SHOWN
) -> list[str]:
    """Return the lines of the screen."""
    tracker = Tracker(total, shown)
    tracker.look([], 0.0)
    snapshot = tracker.look(trials, 60.0)
    with console.capture() as captured:
        console.print(Screen(console, shown, tracker).render(snapshot))
    return [Text.from_ansi(line).plain for line in captured.get().splitlines()]


def written(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_screen_fits_80_columns_with_every_heading_whole() -> None:
    lines = drawn([trial(1), trial(2), trial(3, "ERROR")], terminal(), total=12)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in ("arm", "trial", "done", "epoch", "loss", "accuracy", "momentum", "changes"):
        assert word in text
    assert "…" not in text
    assert lines[0] == "0 of 12 finished, 2 running, 1 failed, 9 pending"
    # 1 + 2 x 12.25 / 30 of 12 trials in a minute.
    assert lines[1].endswith("15% done, about 6 min left")
    assert lines[2] == "best validation_loss 0.01235: trainable-diagonal seed 1, momentum 0.95"
    assert lines[-1] == "failed: trainable-diagonal seed 3: reason unknown"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_a_thousand_trials_fit_on_one_screen(width: int, height: int) -> None:
    statuses = ["TERMINATED"] * 300 + ["ERROR"] * 30 + ["RUNNING"] * 64 + ["PENDING"] * 606
    trials = [trial(i, status) for i, status in enumerate(statuses)]
    lines = drawn(trials, terminal(width, height), total=1000)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in ("300 of 1000 finished", "36% done", "best validation_loss", "more that run"):
        assert part in text
    assert lines[-1].endswith("more that failed")
    if width >= 60:
        assert "trainable-diagonal seed 3" in text
        assert "momentum" in text


def test_a_study_without_metric_epochs_and_arms_shows_what_it_has() -> None:
    plain = trial(1)
    plain.config = {}
    plain.run_metadata.last_result = {"training_iteration": 7, "gap/momentum": 0.9}
    shown = Shown("epoch", None, None, "min", "loss", "accuracy")
    words = [line.split() for line in drawn([plain], terminal(), total=None, shown=shown)]
    assert words[0] == ["0", "finished,", "1", "running"]
    assert words[1] == ["arm", "trial", "report", "momentum", "changes"]
    assert words[3] == ["train", "id1", "7", "0.9", "-"]


def test_time_left_is_at_the_studys_pace() -> None:
    tracker = Tracker(10, SHOWN)
    assert tracker.look([], 100.0).left_s is None
    trials = [trial(1, "TERMINATED"), trial(2, "TERMINATED"), trial(3, epoch=15, time_total_s=20.0)]
    # 2.5 trials in 50 s, 7.5 to go.
    assert tracker.look(trials, 150.0).left_s == pytest.approx(150.0)


def test_time_left_is_at_least_what_the_slowest_trial_needs() -> None:
    tracker = Tracker(2, SHOWN)
    tracker.look([], 0.0)
    trials = [trial(1, "TERMINATED"), trial(2, epoch=3, time_total_s=100.0)]
    assert tracker.look(trials, 100.0).left_s == pytest.approx(900.0)


def test_time_left_of_a_restored_study_counts_from_its_restart() -> None:
    tracker = Tracker(4, SHOWN)
    ended = [trial(1, "TERMINATED"), trial(2, "TERMINATED")]
    tracker.look([*ended, trial(3, epoch=0)], 1000.0)
    later = tracker.look([*ended, trial(3, epoch=15, time_total_s=10.0)], 1010.0)
    assert later.finished == 2
    assert later.left_s == pytest.approx(30.0)


@pytest.mark.parametrize(("mode", "best"), [("min", "seed 2"), ("max", "seed 4")])
def test_the_best_trial_has_the_best_last_value_that_is_a_number(mode: str, best: str) -> None:
    shown = Shown("epoch", 30, "validation_loss", mode, "validation_loss", "validation_accuracy")
    values = {1: 0.5, 2: 0.25, 3: float("nan"), 4: 0.75}
    trials = [trial(i, "TERMINATED" if i < 3 else "RUNNING", validation_loss=v)
              for i, v in values.items()]  # fmt: skip
    found = Tracker(9, shown).look(trials, 0.0).best
    assert found is not None
    assert found.trial == f"trainable-diagonal {best}"


def test_a_study_of_several_ray_runs_is_counted_as_one() -> None:
    tracker = Tracker(6, SHOWN)
    tracker.look([trial(1, "TERMINATED", validation_loss=0.001), trial(2, "ERROR")], 0.0)
    snapshot = tracker.look([trial(3), trial(4, "PENDING")], 1.0)
    assert snapshot.counts() == "1 of 6 finished, 1 running, 1 failed, 3 pending"
    assert snapshot.best is not None
    assert snapshot.best.value == 0.001


def test_a_failed_trial_that_runs_again_is_no_longer_failed() -> None:
    tracker = Tracker(2, SHOWN)
    assert tracker.look([trial(1, "ERROR")], 0.0).failed == 1
    assert tracker.look([trial(1)], 1.0).failed == 0
    assert not tracker.failures


def test_it_goes_on_counting_when_the_study_is_restored() -> None:
    before = Progress(3, console=terminal(), style="lines")
    before.setup()
    before.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    before.on_trial_error(iteration=0, trials=[], trial=trial(2, "ERROR"))
    after = Progress(3, style="lines", console=terminal())
    after.set_state(pickle.loads(pickle.dumps(before.get_state())))
    restored = pickle.loads(pickle.dumps(after))
    restored._console = console = terminal()
    restored.setup()
    restored.on_trial_complete(iteration=0, trials=[], trial=trial(3, "TERMINATED"))
    assert "seed 3: finished (3 of 3)" in written(console)


def test_without_a_terminal_a_trial_that_ended_is_one_line() -> None:
    console = Console(file=io.StringIO(), width=40)
    progress = Progress(2, console=console)
    progress.setup()
    progress.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    assert written(console) == (
        "trainable-diagonal seed 1: finished (1 of 2), epoch 12.25, loss 0.01235, "
        "accuracy 0.9876, momentum 0.95, 123 changes\n"
    )


def test_without_a_terminal_it_says_now_and_then_how_the_study_is() -> None:
    console = Console(file=io.StringIO(), width=40)
    progress = Progress(3, console=console, epochs=30)
    progress.setup()
    progress._pace = Pace(0.0)
    progress.on_step_end(iteration=0, trials=[trial(1), trial(2, "PENDING")])
    first, second = written(console).splitlines()
    assert first == (
        "0 of 3 finished, 1 running, 2 pending; 14% done; "
        "best validation_loss 0.01235: trainable-diagonal seed 1, momentum 0.95"
    )
    assert second.startswith("trainable-diagonal seed 1: running, epoch 12.25, loss 0.01235")


def in_terminal(environment: dict[str, str], **options: Any) -> str:
    """Return what a real terminal is sent of a study."""
    ours, theirs = pty.openpty()
    sent: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(ours, sent))
    reader.start()
    with os.fdopen(theirs, "w") as file:
        console = Console(file=file, width=80, height=24, _environ=environment)
        progress = Progress(2, console=console, epochs=30, **options)
        progress.setup()
        progress._pace = progress._pace and Pace(0.0)
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


def fails(config: dict[str, Any]) -> None:
    if config.get("fails"):
        raise ValueError("a bug in a user's function")
    quadratic(config)


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
        run(plan, function=fails, callbacks=[progress])
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


def test_an_exception_in_it_never_reaches_the_study(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(2, console=terminal(), style="table")
    progress.setup()
    progress._pace = Pace(0.0)
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
