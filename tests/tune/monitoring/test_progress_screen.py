"""The live screen in terminals of several sizes, and what it says where nothing moves."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.tune import PlacementGroupFactory

from gap_tune.dashboards.grafana import UID
from gap_tune.tune.monitoring.progress import Progress, callback
from gap_tune.tune.monitoring.progress.pace import Pace
from gap_tune.tune.monitoring.progress.standing import Ended, Standing
from gap_tune.tune.monitoring.progress.stillness import Machines, Stillness, told
from gap_tune.tune.monitoring.progress.tracker import Tracker
from gap_tune.tune.monitoring.progress.views import Lines
from gap_tune.tune.monitoring.ray_dashboard import GRAFANA_UID, links_line
from tests.programs import program
from tests.tune.drawing import SHOWN, drawn, terminal, trial, written

OF_GAP = {"gap/scale": 0.2987, "gap/agreement": -0.1234}
ALL = [
    "arm",
    "trial",
    "done",
    "epoch",
    "loss",
    "accuracy",
    "momentum",
    "scale",
    "agreement",
    "changes",
]


def of_arm(number: int, arm: str, status: str = "RUNNING", **result: Any) -> Any:
    made = trial(number, status, **result)
    made.config = {"arm": arm, "seed": number % 10}
    return made


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_headings_that_fit_are_whole_and_momentum_scale_and_agreement_stay(width: int) -> None:
    trials = [trial(number, **OF_GAP) for number in range(12)]
    lines = drawn(trials, terminal(width), total=12)
    assert max(map(len, lines)) <= width
    (headings,) = (line.split() for line in lines if line.startswith("arm"))
    assert set(headings) <= set(ALL)
    if width >= 80:
        assert {"loss", "momentum", "scale", "agreement"} <= set(headings)
    if width >= 100:
        assert headings == ALL
    row = next(line for line in lines if "seed 3" in line)
    assert "0.95" in row
    if width >= 80:
        assert "0.2987" in row
        assert "-0.12" in row


def test_what_arms_ended_with_is_shown_and_called_no_answer() -> None:
    trials = [
        of_arm(0, "gap", "TERMINATED", validation_loss=0.25),
        of_arm(10, "fixed:0.9", "TERMINATED", validation_loss=0.125),
        of_arm(20, "fixed:0.5", "TERMINATED", validation_loss=0.5),
        of_arm(1, "gap", "TERMINATED", validation_loss=0.75),
        of_arm(11, "fixed:0.9"),
    ]
    lines = drawn(trials, terminal(100), total=6)
    assert lines[3] == (
        "best of those finished: gap 0.25 (2 trials), fixed:0.9 0.125 (1), fixed:0.5 0.5 (1)"
    )
    assert lines[4] == (
        "1 pair of gap and fixed momentum finished; which is better is tested at the end"
    )
    for narrow in (60, 70):
        lines = drawn(trials, terminal(narrow), total=6)
        assert max(map(len, lines)) <= narrow
        assert lines[3].endswith(" more")


def test_trials_that_are_paired_within_a_configuration_are_compared_there() -> None:
    def paired(number: int, mode: str, pair: int) -> Any:
        made = trial(number, "TERMINATED", validation_loss=float(number))
        made.config = {"momentum": 0.9, "seed": 0, "gap": {"mode": mode, "pair": pair}}
        return made

    modes = [("scheduler", 0), ("fixed", 0), ("scheduler", 1), ("fixed", 2)]
    trials = [paired(number, *each) for number, each in enumerate(modes, 1)]
    text = "\n".join(drawn([*trials, trial(9, validation_loss=9.0)], terminal(100), total=9))
    assert "finished: gap 1 (2 trials), fixed:0.9 2 (2)" in text
    assert "1 pair of gap and fixed momentum finished" in text
    assert "gap config 0 seed 0, momentum" in text


@pytest.mark.parametrize(("mode", "first"), [("min", "a"), ("max", "b")])
def test_the_best_of_each_arm_is_by_the_studys_mode(mode: str, first: str) -> None:
    ended = [Ended("a", None, 1.0), Ended("b", None, 2.0), Ended("c", None, None)]
    better = {"min": lambda one, other: one < other, "max": lambda one, other: one > other}[mode]
    (line,) = Standing(ended, better).lines()
    assert line.startswith(f"best of those finished: {first} ")
    assert "c" not in line.split(": ")[1].split()


def test_a_study_that_is_restored_still_knows_what_had_ended() -> None:
    before = Tracker(4, SHOWN)
    before.look([of_arm(0, "gap", "TERMINATED"), of_arm(10, "fixed:0.9", "TERMINATED")], 0.0)
    after = Tracker(4, SHOWN)
    after.load(before.state())
    assert after.look([], 1.0).standing.lines() == before.look([], 1.0).standing.lines()
    assert len(after.look([], 1.0).standing.lines()) == 2
    # A state that another version saved has no such thing.
    older = Tracker(4, SHOWN)
    older.load({key: value for key, value in before.state().items() if key != "finished"})
    assert older.look([], 1.0).standing.lines() == []


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_without_movement_is_still_and_reports_minutes_apart_are_not() -> None:
    clock = Clock()
    stillness = Stillness(clock)
    clock.now = 59.0
    assert stillness.seconds() is None
    clock.now = 61.0
    assert stillness.seconds() == 61.0
    # What the set-up took says nothing about reports.
    stillness.moved(reported=True)
    clock.now += 61.0
    assert stillness.seconds() == 61.0
    clock.now += 39.0
    stillness.moved(reported=True)
    clock.now += 299.0
    assert stillness.seconds() is None
    clock.now += 2.0
    assert stillness.seconds() == 301.0


def asking(**resources: float) -> Any:
    waiting = of_arm(1, "gap", "PENDING")
    waiting.placement_group_factory = PlacementGroupFactory([resources])
    return waiting


QUIET = {"load": 0.5, "cores": 2}
TWO = [{"CPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}]


@pytest.mark.parametrize(
    ("trials", "machines", "cause"),
    [
        (
            [asking(CPU=8.0)],
            Machines(TWO, {"CPU": 6.0}, **QUIET),
            "No node has what a trial asks for, 8 CPU: there is 2 CPU; 4 CPU.",
        ),
        (
            # Each is there, but not on one node.
            [asking(CPU=5.0, GPU=1.0)],
            Machines(TWO, {"CPU": 6.0, "GPU": 1.0}, **QUIET),
            "No node has what a trial asks for, 5 CPU, 1 GPU: there is 2 CPU, 0 GPU; 4 CPU, 1 GPU.",
        ),
        (
            [asking(CPU=2.0)],
            Machines(TWO, {"CPU": 1.0}, **QUIET),
            "A trial asks for 2 CPU, which others use: 1 CPU free.",
        ),
        (
            [asking(CPU=1.0)],
            Machines(TWO, {"CPU": 6.0}, **QUIET),
            "The process of a first trial is being started: it imports Ray and your code.",
        ),
        (
            [of_arm(1, "gap"), of_arm(2, "gap")],
            Machines(TWO, {}, load=9.7, cores=2),
            "10 processes want the 2 cores of this machine: Ray runs trials at niceness 15, behind "
            "all others.",
        ),
    ],
)
def test_causes_of_stillness(trials: list[Any], machines: Machines, cause: str) -> None:
    assert told(75.0, trials, machines) == f"Nothing has moved for 75 s. {cause}"


def test_trials_that_have_not_reported_may_be_setting_up() -> None:
    silent = of_arm(1, "gap")
    silent.run_metadata = SimpleNamespace(last_result={})
    text = told(200.0, [silent, of_arm(2, "gap")], Machines(TWO, {}, **QUIET))
    assert "1 of 2 that run have not reported yet" in text


def test_the_machines_are_those_that_ray_has(ray_address: str) -> None:
    machines = Machines.now()
    together: dict[str, float] = {}
    for node in machines.nodes:
        for name, amount in node.items():
            together[name] = together.get(name, 0.0) + amount
    assert together["CPU"] == ray.cluster_resources()["CPU"]
    assert machines.cores >= 1
    wanted = asking(CPU=together["CPU"] + 1)
    assert "No node has what a trial asks for" in told(60.0, [wanted], machines)


def test_a_screen_goes_on_where_the_cause_of_stillness_cannot_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = terminal()
    progress = Progress(2, console=console, epochs=30, style="table")
    monkeypatch.setattr(callback, "Pace", lambda every_s: Pace(0.0))
    monkeypatch.setattr(Stillness, "seconds", lambda self: 75.0)
    monkeypatch.setattr(ray, "nodes", lambda: 1 / 0)
    progress.setup()
    for _ in range(2):
        progress.on_step_end(iteration=0, trials=[trial(1)])
    progress.on_experiment_end(trials=[])
    assert written(console).count("Nothing has moved for 75 s.") >= 2


def test_a_log_says_once_that_nothing_moves() -> None:
    console = terminal()
    lines = Lines(console, SHOWN, Tracker(1, SHOWN))
    tracker = Tracker(1, SHOWN)
    for still in (
        "Nothing has moved for 60 s.",
        "Nothing has moved for 90 s.",
        "",
        "Nothing again.",
    ):
        lines.refresh(replace(tracker.look([], 0.0), still=still))
    assert [line for line in written(console).splitlines() if "Nothing" in line] == [
        "Nothing has moved for 60 s.",
        "Nothing again.",
    ]


def test_links_are_rays_own_and_grafanas_where_ray_knows_it(
    ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GRAFANA_UID == UID
    monkeypatch.delenv("RAY_GRAFANA_HOST", raising=False)
    assert "Grafana" not in links_line()
    monkeypatch.setenv("RAY_GRAFANA_HOST", "http://monitor:3000/")
    assert links_line().endswith(f"Grafana http://monitor:3000/d/{UID}")


SHOW = """
import time
from tests.tune.drawing import trial
from gap_tune.tune.monitoring.progress import Progress, callback
from gap_tune.tune.monitoring.progress.pace import Pace

# A busy machine draws slowly, and would be given seconds to do so.
callback.Pace = lambda every_s: Pace(0.1, share=1.0)
trials = [trial(n, **{"gap/scale": 0.3, "gap/agreement": 0.5}) for n in range(30)]
progress = Progress(40, epochs=30)
progress.setup()
while True:
    progress.on_step_end(iteration=0, trials=trials)
    time.sleep(0.1)
"""


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Any]:
    """Run tmux commands on a server of its own; return what they print."""
    path = program("tmux")

    def command(*arguments: str) -> str:
        run = [path, "-S", str(tmp_path / "tmux"), "-f", "/dev/null", *arguments]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout

    yield command
    command("kill-server")


def seen(tmux: Any, word: str) -> list[str]:
    """Return what a person sees, once the word is among it."""
    for _ in range(600):
        lines: list[str] = tmux("capture-pane", "-p").splitlines()
        if any(word in line for line in lines):
            return lines
        time.sleep(0.2)
    raise AssertionError(lines)


def test_the_screen_in_tmux_is_whole_at_80_columns_and_when_it_grows_to_200(tmux: Any) -> None:
    # Python's readline, which pytest imports, sets both behind Python's back.
    python = shlex.join(["env", "-u", "COLUMNS", "-u", "LINES", sys.executable, "-c", SHOW])
    tmux("new-session", "-d", "-x", "80", "-y", "24", python)
    lines = seen(tmux, "more that run")
    assert lines[0] == "0 of 40 finished, 30 running, 10 pending"
    assert len(lines) <= 24
    headings = next(line for line in lines if line.startswith("arm")).split()
    assert {"momentum", "scale", "agreement"} <= set(headings)
    assert not [line for line in lines if "…" in line]
    tmux("resize-window", "-x", "200", "-y", "50")
    lines = seen(tmux, "changes")
    headings = next(line for line in lines if line.startswith("arm")).split()
    assert headings == ALL
    assert sum("trainable-diagonal seed" in line and "0.3" in line for line in lines) == 30
