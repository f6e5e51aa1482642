"""A comparison is really killed in the middle, and ends with the table of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from gap_tune import Study
from gap_tune.report import summarise
from gap_tune.study.records import run_state
from tests.study.killed import ARMS, EPOCHS, make


def lines(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/result.json"))


@pytest.mark.slow
def test_a_killed_comparison_resumes_to_the_table_of_an_undisturbed_one(
    ray_address: str, tmp_path: Path
) -> None:
    storage = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.study.killed", ray_address, str(storage)]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    # The shared run has ended, the search of the first seed is at work, the second's to come.
    first = storage / "runs" / "optuna-1_seed0"
    try:
        deadline = time.monotonic() + 500
        while lines(first) < 2 or not any(first.glob("search_gen_state-*.json")):
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline, "the study did not start"
            time.sleep(0.05)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()

    study = Study.restore(storage)
    states = [run_state(run.folder) for run in study.runs()]
    assert states == ["finished", "", ""]
    before = study.records()
    assert before.study["open_runs"] == 2
    records = study.resume()
    assert set(records.trials["status"]) == {"finished"}
    # What had finished, and what the interrupted trial had saved, was not trained again.
    ended = before.trials[before.trials["status"] == "finished"]
    assert len(ended) == 4
    kept = ended.merge(records.trials, on=["trial_id", "timestamp"])
    assert len(kept) == len(ended)
    (interrupted,) = records.results[
        (records.results["arm"] == "optuna:1") & (records.results["seed"] == 0)
    ]["trial_id"].unique()
    assert interrupted in set(before.trials["trial_id"])

    undisturbed = make(tmp_path / "undisturbed").run()
    assert undisturbed.trials["arm"].to_list() == [ARMS[0]] * 4 + [ARMS[1]] * 2
    assert set(undisturbed.trials["reports"]) == {EPOCHS}
    pd.testing.assert_frame_equal(summarise(records), summarise(undisturbed))
