"""The example of a killed study: it is killed, and run again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "03_resume_after_a_kill.py"
TRIALS, EPOCHS = 4, 20


def reported(folder: Path) -> int:
    return sum(len(p.read_text().splitlines()) for p in folder.glob("study/*/result.json"))


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was(ray_address: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE), str(tmp_path)]
    environment = {
        **os.environ,
        "RAY_ADDRESS": ray_address,
        "TUNE_GLOBAL_CHECKPOINT_S": "0.5",
    }
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: reported(tmp_path) >= EPOCHS // 2, "ten reports", process=driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    before = reported(tmp_path)
    assert before < TRIALS * EPOCHS

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(re.findall(r"loss [\d.]+, momentum [\d.]+", done.stdout)) == TRIALS
    files = list(tmp_path.glob("study/*/result.json"))
    assert len(files) == TRIALS
    for path in files:
        results = [json.loads(line) for line in path.read_text().splitlines()]
        by_iteration = {result["training_iteration"]: result for result in results}
        assert sorted(by_iteration) == list(range(1, EPOCHS + 1))
        # Trials went on from checkpoints: 16 steps an epoch, counted from the start.
        steps = [by_iteration[i]["gap/steps"] for i in sorted(by_iteration)]
        assert steps == [16 * i for i in range(1, EPOCHS + 1)]
