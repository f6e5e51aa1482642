"""The storage of a study cannot be written for a while: full, or read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.rules.recorded import read_decisions
from tests.faults.studies import Course, assert_same_course, course, tuner
from tests.faults.workload import EPOCHS

PLAN: list[dict[str, Any]] = [{"seed": seed, "pause_s": 0.2} for seed in (0, 1)]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "storage"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting a file system takes rights that this user lacks")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    # Trials write all the time, and a file system with open files cannot become read-only.
    for _ in range(200):
        if not subprocess.run(["mount", "-o", f"remount,{how}", str(folder)]).returncode:
            return
    raise AssertionError("the storage did not become read-only")


def let_go(folder: Path) -> None:
    """Make files that this process, the driver, holds open there unusable.

    They would keep the file system from becoming read-only; one that does so by itself, after an
    error, asks nobody, and the next write to them fails.
    """
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if (path := link.readlink()).is_relative_to(folder):
                unusable = os.open(path, os.O_RDONLY)
                os.dup2(unusable, int(link.name))
                os.close(unusable)


def spoil(folder: Path, how: str) -> None:
    if how == "read-only":
        let_go(folder)
        remount(folder, "ro")
        return
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"0" * 4096)
        except OSError:
            pass


def mend(folder: Path, how: str) -> None:
    if how == "read-only":
        remount(folder, "rw")
    else:
        (folder / "filler").unlink()


class Spoils(tune.Callback):  # type: ignore[misc]
    """Spoils the storage at the third report of a trial, and mends it at its seventh."""

    def __init__(self, folder: Path, how: str) -> None:
        self._folder, self._how = folder, how
        self._first: str | None = None

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._first = self._first or trial.trial_id
        if trial.trial_id == self._first and result["training_iteration"] == 3:
            spoil(self._folder, self._how)
        if trial.trial_id == self._first and result["training_iteration"] == 7:
            mend(self._folder, self._how)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["read-only", "full"])
def test_a_storage_out_of_order_for_a_while_costs_nothing_that_was_reported(
    undisturbed: dict[int, Course],
    storage: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0.2")
    grid = tuner(storage, PLAN, callbacks=[Spoils(storage, how)]).fit()
    assert not grid.errors
    for result in grid:
        assert_same_course(course(result), undisturbed[result.config["seed"]])
    decisions = read_decisions(storage / "study")
    for result in grid:
        own = [d for d in decisions if d.trial in result.path]
        assert len(own) == EPOCHS
