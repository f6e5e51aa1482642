"""A comparison is really killed in the middle, and ends with the table of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from gap_tune import Study
from gap_tune.errors import InvalidValueError
from gap_tune.records.records import Records
from gap_tune.records.studies import run_state
from gap_tune.report import summarise
from gap_tune.study.remote_store import open_store
from gap_tune.study.store import Store
from tests.object_storage import CREDENTIALS, filesystem, serving, uri
from tests.patience import wait_for
from tests.study.killed import ARMS, EPOCHS, make


def lines(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/result.json"))


def far_enough(store: Store, run: Path) -> bool:
    store.pull(run)
    return lines(run) >= 2 and any(run.glob("search_gen_state-*.json"))


@pytest.fixture(scope="module")
def undisturbed(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Records:
    return make(tmp_path_factory.mktemp("undisturbed") / "study").run()


@pytest.fixture(params=["folder", "s3"])
def storage(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "killed")
        return
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving() as endpoint:
        filesystem(endpoint).create_dir("studies")
        yield uri(endpoint, "studies/killed")


@pytest.mark.slow
def test_a_killed_comparison_resumes_to_the_table_of_an_undisturbed_one(
    ray_address: str, storage: str, undisturbed: Records
) -> None:
    command = [sys.executable, "-m", "tests.study.killed", ray_address, storage]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    # The shared run has ended, the search of the first seed is at work, the second's to come.
    store = open_store(storage)
    first = store.folder / "runs" / "optuna-1_seed0"
    try:
        wait_for(lambda: far_enough(store, first), "the first search", process=driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()

    with pytest.raises(InvalidValueError, match="must not hold a study yet"):
        make(storage).run()
    study = Study.restore(storage)
    states = [run_state(run.folder) for run in study.runs()]
    assert states == ["finished", "", ""]
    before = study.records()
    assert before.study["open_runs"] == 2
    records = study.resume()
    assert records.trials_with("failed")["error"].to_list() == []
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

    assert undisturbed.trials["arm"].to_list() == [ARMS[0]] * 4 + [ARMS[1]] * 2
    assert set(undisturbed.trials["reports"]) == {EPOCHS}
    pd.testing.assert_frame_equal(summarise(records), summarise(undisturbed))
