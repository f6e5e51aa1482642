"""Runners do the same runs in different places; lines may differ in times only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.panel.settings import Setting, read_settings
from gap_tune.records.suites import RUNS_FILE, key_of
from gap_tune.study import Job, PoolRunner, RayRunner, Resources, Runner
from gap_tune.study.suite.running import Line, run
from tests.panel.tiny import write_settings
from tests.patience import wait_for
from tests.study.suite.jobs import job
from tests.tune.functions import Cycle

TINY = Setting("tiny", "quadratic", "sgd", 32, 2, 4, {"dimension": 10, "samples": 256})
RAISES = f"{__name__}:Raises"


class Raises(Cycle):
    """Knows nothing every other time."""

    def decide(self, statistics: Any, momentum: float) -> Any:
        if statistics.steps % 4 == 0:
            raise RuntimeError("no idea")
        return super().decide(statistics, momentum)


def lines(runner: Runner, jobs: Sequence[Job]) -> list[Line]:
    """Return the lines in the order of the jobs, times left out."""
    rows: list[Line] = []
    runner.run(jobs, rows.append)
    assert len(rows) == len(jobs)
    assert all(row.pop("seconds") >= 0 for row in rows)
    by_key = {key_of(row): row for row in rows}
    return [by_key[job.key] for job in jobs]


@pytest.mark.slow
def test_pool_and_ray_give_the_same_lines_bit_for_bit(ray_address: str, tmp_path: Path) -> None:
    jobs = [job(arm, TINY) for arm in ("fixed:0.9", "gap-trial", "gap", "switch", RAISES)]
    jobs += [job(arm, TINY, lr=1e9) for arm in ("fixed:0.9", "gap")]
    pool = lines(PoolRunner(2), jobs)
    ray = lines(RayRunner(Resources(cpus=2), tmp_path / "ray"), jobs)
    assert ray == pool
    statuses = [row["status"] for row in pool]
    assert statuses == ["finished"] * 5 + ["diverged"] * 2
    by_arm = {row["arm"]: row for row in pool[:5]}
    # Else there was nothing to compare.
    assert len(set(by_arm["gap"]["momenta"])) > 1
    assert by_arm[RAISES]["undecided"] > 0
    # What was done is not done again, and nothing of it is in the way.
    again = lines(RayRunner(Resources(cpus=2), tmp_path / "ray"), jobs[:1])
    assert again == pool[:1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pool", "ray"])
def test_what_is_raised_on_a_line_ends_the_others(
    ray_address: str, tmp_path: Path, kind: str
) -> None:
    runner: Runner = PoolRunner(1)
    if kind == "ray":
        runner = RayRunner(Resources(cpus=1), tmp_path)
    seen: list[Line] = []

    def done(row: Line) -> None:
        seen.append(row)
        raise InvalidValueError("the disk is full")

    with pytest.raises(InvalidValueError, match="the disk is full"):
        runner.run([job("fixed:0.9", TINY, seed=seed) for seed in range(4)], done)
    assert len(seen) == 1


@pytest.mark.slow
def test_runs_that_cannot_start_are_told_once_the_others_have_ended(
    ray_address: str, tmp_path: Path
) -> None:
    fine = job("fixed:0.9", TINY)
    lost = Job({**job("fixed:0.5", TINY).config, "workload": "tests.nowhere:Nothing"})
    rows: list[Line] = []
    with pytest.raises(StateError, match=r"1 of 2 did not, the first of them \('tiny', 'fixed:0.5"):
        RayRunner(Resources(cpus=2), tmp_path).run([lost, fine], rows.append)
    assert [key_of(row) for row in rows] == [fine.key]


def test_an_interrupt_that_ray_tune_keeps_to_itself_is_raised(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After Ctrl-C it returns as if all were done.
    monkeypatch.setattr(tune.Tuner, "fit", lambda self: None)
    with pytest.raises(KeyboardInterrupt):
        RayRunner(Resources(cpus=1), tmp_path).run([job("fixed:0.9", TINY)], print)


def test_a_run_has_one_worker(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="one GPU at most, but got gpus_per_trial=2"):
        RayRunner(Resources(gpus_per_trial=2), tmp_path)


@pytest.mark.slow
def test_a_panel_that_ray_tune_runs_goes_on_where_it_was_killed(
    ray_address: str, tmp_path: Path
) -> None:
    file, out = write_settings(tmp_path, ("epochs: 2", "epochs: 40")), tmp_path / "out"
    script = Path(sys.executable).parent / "gap-tune"
    command = [script, "panel", "--settings", file, "--out", out, "--cpus", "2", "--runner", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": ray_address}
    journal = out / RUNS_FILE
    started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    begun = lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2  # noqa: E731
    wait_for(begun, "two runs", process=started)
    started.send_signal(signal.SIGKILL)
    started.wait()
    before = journal.read_text().splitlines()
    assert len(before) < 8
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{len(before)} of them done before" in done.stdout
    assert (out / "panel.html").exists()
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert rows[: len(before)] == [json.loads(line) for line in before]
    assert len(rows) == 8
    by_key = {key_of(row): row for row in rows}
    for each in read_settings(file).suite().jobs():
        expected = run(each)
        assert {**by_key[each.key], "seconds": 0.0} == {**expected, "seconds": 0.0}
