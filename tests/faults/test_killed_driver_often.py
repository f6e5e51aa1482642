"""A driver is killed at five moments of one study; what it resumes ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from ray import tune

from tests.faults.quadratic_driver import PLAN
from tests.faults.studies import Course, assert_same_course, course
from tests.faults.workload import descend
from tests.patience import wait_for


def reports(storage: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in storage.glob("study/*/result.json"))


def has_saved_state(storage: Path) -> bool:
    return any(storage.glob("study/search_gen_state-*.json"))


# Reports that this driver has brought about when it is killed; None: as soon as it has saved what
# a restore needs.
MOMENTS: dict[str, int | None] = {
    "as soon as it can be resumed": None,
    "at its first report": 1,
    "early": 3,
    "later": 5,
    "later still": 7,
}


def has_come(storage: Path, before: int, more: int | None) -> bool:
    return has_saved_state(storage) if more is None else reports(storage) >= before + more


@pytest.mark.slow
def test_a_driver_killed_at_five_moments_changes_nothing(
    ray_address: str, undisturbed: dict[int, Course], tmp_path: Path
) -> None:
    storage = tmp_path / "disturbed"
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.2"}
    command = [sys.executable, "-m", "tests.faults.quadratic_driver", ray_address, str(storage)]
    for name, more in MOMENTS.items():
        before = reports(storage)
        driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            come = partial(has_come, storage, before, more)
            wait_for(come, f"the moment to kill it {name}", process=driver)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    grid = tune.Tuner.restore(str(storage / "study"), descend, resume_unfinished=True).fit()
    assert not grid.errors
    assert len(grid) == len(PLAN)
    for result in grid:
        assert_same_course(course(result), undisturbed[result.config["seed"]])
