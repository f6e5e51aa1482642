"""The driver of a study is really killed; the study goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gap_tune import Study
from gap_tune.errors import StateError
from gap_tune.records.studies import STUDY_FILE
from tests.faults.driver import ARMS, EPOCHS
from tests.patience import wait_for


def lines(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/result.json"))


@pytest.mark.slow
def test_a_killed_driver_resumes_and_finishes_every_trial(ray_address: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    command = [sys.executable, "-m", "tests.faults.driver", ray_address, str(tmp_path)]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        experiment = tmp_path / "experiment"
        wait_for(lambda: lines(experiment) >= 30, "thirty reports", process=driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()

    study = Study.restore(tmp_path)
    before = study.records()
    assert set(before.trials["status"]) == {"unfinished"}
    records = study.resume()

    assert list(records.trials["arm"]) == list(ARMS)
    assert set(records.trials["status"]) == {"finished"}
    for _, rows in records.results.groupby("arm"):
        # Reports at every quarter of an epoch, none missing and none twice.
        assert rows["epoch"].to_list() == pytest.approx(
            [e + q for e in range(EPOCHS) for q in (4 / 16, 8 / 16, 12 / 16, 1)]
        )
        assert rows["iteration"].to_list() == list(range(1, 4 * EPOCHS + 1))
    gap = records.results[records.results["arm"] == "gap"]
    assert gap["gap/seq"].is_monotonic_increasing
    # It went on from a checkpoint: the trial's own step count never fell back to the start.
    assert gap["gap/steps"].to_list() == [4 * (i + 1) for i in range(4 * EPOCHS)]
    fixed = records.results[records.results["arm"] == "fixed:0.9"]
    assert set(fixed["gap/momentum"]) == {0.9}
    kept = before.results.merge(records.results, on=["trial_id", "iteration"])
    assert len(kept) == len(before.results)
    same = kept[kept["timestamp_x"] == kept["timestamp_y"]]
    assert len(same) > 0, "every trial started over"


@pytest.mark.slow
def test_bug_a_driver_killed_before_the_searcher_was_saved_must_not_repeat_trials(
    ray_address: str, tmp_path: Path
) -> None:
    # What such a driver leaves: the trials, and no searcher.
    study = Study("digits-resnet", ["fixed:0.9"], seeds=1, epochs=1, storage=tmp_path)
    study.folder.mkdir()
    (study.folder / STUDY_FILE).write_text(json.dumps(study.describe()))
    (study.folder / "experiment_state-2026-01-01_00-00-00.json").write_text("{}")
    records = Study.restore(tmp_path).resume()
    assert records.trials["arm"].to_list() == ["fixed:0.9"]
    assert records.trials["status"].to_list() == ["finished"]
    # Nothing of what was there is deleted.
    assert list(tmp_path.glob("experiment-not-saved-*/experiment_state-*.json"))


def test_a_folder_without_a_study_cannot_be_restored(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"study\.json"):
        Study.restore(tmp_path)
