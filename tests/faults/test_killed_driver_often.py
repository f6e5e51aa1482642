"""A driver is killed at five moments of one study; what it resumes ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ray import tune

from tests.faults.quadratic_driver import PLAN
from tests.faults.studies import assert_same_course, tuner
from tests.faults.workload import descend


def reports(storage: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in storage.glob("study/*/result.json"))


def has_saved_state(storage: Path) -> bool:
    return any(storage.glob("study/search_gen_state-*.json"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "as soon as it can be resumed": has_saved_state,
    "as soon as it has resumed": lambda storage: True,
    "after the first reports": lambda storage: reports(storage) >= 2,
    "in the middle": lambda storage: reports(storage) >= 12,
    "toward the end": lambda storage: reports(storage) >= 26,
}


@pytest.mark.slow
def test_a_driver_killed_at_five_moments_changes_nothing(ray_address: str, tmp_path: Path) -> None:
    storage = tmp_path / "disturbed"
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.2"}
    command = [sys.executable, "-m", "tests.faults.quadratic_driver", ray_address, str(storage)]
    for name, moment in MOMENTS.items():
        driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 300
            time.sleep(1.0 if name == "as soon as it has resumed" else 0.0)
            while not moment(storage):
                assert driver.poll() is None, f"the driver ended before it could be killed {name}"
                assert time.monotonic() < deadline, f"it never came to be killed {name}"
                time.sleep(0.05)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    grid = tune.Tuner.restore(str(storage / "study"), descend, resume_unfinished=True).fit()
    assert not grid.errors
    undisturbed = tuner(tmp_path / "undisturbed", [dict(config, pause_s=0.0) for config in PLAN])
    expected = {r.config["seed"]: r for r in undisturbed.fit()}
    assert len(grid) == len(PLAN)
    for result in grid:
        assert_same_course(result, expected[result.config["seed"]])
