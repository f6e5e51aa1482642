"""The panel from its command: whole, killed and continued, and quick."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from gap_tune import cli
from gap_tune.panel.settings import read_settings
from gap_tune.records.suites import RUNS_FILE, key_of
from gap_tune.study.suite.running import run
from tests.panel.tiny import write_settings
from tests.patience import wait_for

CLOCKS = ("seconds",)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gap-tune", "panel", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (out / RUNS_FILE).read_text().splitlines()]


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


@pytest.mark.slow
def test_the_command_ends_with_table_verdict_csv_and_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, out = write_settings(tmp_path), tmp_path / "out"
    arguments = ["--settings", str(file), "--out", str(out), "--cpus", "1"]
    assert call(monkeypatch, *arguments) == 0
    text = capsys.readouterr().out
    assert "8 runs: 1 settings x 2 learning rates x 2 seeds x 2 arms; 0 of them" in text
    assert "Undecided: one setting" in text
    for name in ("panel.html", "panel.csv", "panel-arms.csv", "panel.json"):
        assert (out / name).exists()
    assert str(out / "panel.html") in text
    # In processes of their own, runs are the same as here.
    assert untimed(lines(out)) == untimed([run(job) for job in read_settings(file).suite().jobs()])
    # Once more: nothing is left to do, and the report is written anew.
    (out / "panel.html").unlink()
    assert call(monkeypatch, *arguments) == 0
    assert "8 of them done before" in capsys.readouterr().out
    assert (out / "panel.html").exists()
    assert len(lines(out)) == 8
    write_settings(tmp_path, ("epochs: 2", "epochs: 3"))
    assert call(monkeypatch, *arguments) == 2
    assert "the settings must be those that the panel" in capsys.readouterr().err


@pytest.mark.slow
def test_options_go_over_the_settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, out = write_settings(tmp_path), tmp_path / "out"
    arguments = ["--settings", str(file), "--out", str(out), "--cpus", "1", "--arms", "fixed:0.9"]
    arguments += ["--lr-span", "1000", "--lrs", "3", "--seeds", "3", "--half", "both"]
    assert call(monkeypatch, *arguments) == 0
    rates = sorted({row["lr"] for row in lines(out)})
    assert (len(rates), rates[-1] / rates[0]) == (3, pytest.approx(1000.0, rel=1e-3))
    assert len({row["seed"] for row in lines(out)}) == 3
    note = json.loads((out / "panel.json").read_text())
    assert [note[key] for key in ("lr_span", "lr_count", "seeds")] == [1000.0, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--settings", "nowhere.yaml"], "a panel file must be one that can be read"),
        (["--arms", "gap,adam"], "but got 'adam'"),
        (["--cpus", "0"], "cpus must be an integer of at least 1, but got 0"),
        (["--cpus", "many"], "Invalid value for '--cpus'"),
        (["--runner", "ray", "--cpus", "0"], "cpus must be an integer of at least 1, but got 0"),
        (["--half", "third"], "Invalid value for '--half'"),
        (["--seeds", "1"], "seeds must be an integer of at least 2, but got 1"),
        (["--lrs", "0"], "lr_count must be an integer of at least 1, but got 0"),
        (["--lr-span", "0.5"], "lr_span must be a number in [1, inf), but got 0.5"),
        (["--runner", "slurm"], "Invalid value for '--runner'"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_panel_goes_on_where_it_was(tmp_path: Path) -> None:
    file, out = write_settings(tmp_path, ("epochs: 2", "epochs: 40")), tmp_path / "out"
    script = Path(sys.executable).parent / "gap-tune"
    command = [script, "panel", "--settings", file, "--out", out, "--cpus", "2"]
    jobs = read_settings(file).suite().jobs()
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    journal = out / RUNS_FILE
    begun = lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2  # noqa: E731
    wait_for(begun, "two runs", process=started)
    children = psutil.Process(started.pid).children(recursive=True)
    started.send_signal(signal.SIGKILL)
    started.wait()
    # Its processes do not outlive it, and write nothing.
    assert children
    wait_for(lambda: not any(child.is_running() for child in children), "their end")
    before = lines(out)
    assert 2 <= len(before) < len(jobs)
    # As if the kill had come in the middle of a line.
    whole = journal.read_bytes()
    journal.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{len(before) - 1} of them done before" in done.stdout
    rows = [json.loads(text) for text in journal.read_text().splitlines() if text.endswith("}")]
    assert rows[: len(before) - 1] == before[:-1]
    assert len(rows) == len(jobs)
    by_key = {key_of(row): row for row in rows}
    found = [by_key[job.key] for job in jobs]
    assert untimed(found) == untimed([run(job) for job in jobs])


@pytest.mark.slow
def test_the_quick_panel_runs_every_arm(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "gap-tune"
    command = [script, "panel", "--quick", "--out", tmp_path, "--cpus", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "a panel shows that everything runs and nothing else" in " ".join(done.stdout.split())
    assert {row["arm"] for row in lines(tmp_path)} == set(read_settings().arms)
    assert {row["status"] for row in lines(tmp_path)} == {"finished"}
