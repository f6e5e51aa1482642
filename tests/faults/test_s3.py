"""A study whose storage is S3: it can be killed and goes on from what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from ray import tune

from gap_tune.rules.recorded import DECISIONS_FILE, read_decisions
from gap_tune.tune.trial.checkpointing import FILE
from tests.faults.s3_driver import PLAN, SAVED
from tests.faults.studies import Course, assert_same_course, course
from tests.faults.workload import EPOCHS, STEPS, descend
from tests.object_storage import filesystem, serving
from tests.patience import wait_for

BUCKET = "studies"
STUDY = f"{BUCKET}/study"


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Run a server that speaks S3 on this machine; return where."""
    with serving() as where:
        yield where


def files(s3: Any) -> list[str]:
    """Return the paths below the study's folder."""
    selector = pyarrow.fs.FileSelector(STUDY, recursive=True, allow_not_found=True)
    return [info.path.removeprefix(f"{STUDY}/") for info in s3.get_file_info(selector)]


def decisions(s3: Any, folder: Path) -> set[tuple[Any, ...]]:
    """Return trial, step and new momentum of the decisions in the bucket that hold."""
    folder.mkdir()
    with s3.open_input_stream(f"{STUDY}/{DECISIONS_FILE}") as stream:
        (folder / DECISIONS_FILE).write_bytes(stream.read())
    return {(d.trial, d.step, d.new) for d in read_decisions(folder)}


def far_enough(s3: Any) -> bool:
    """Tell whether both trials have a third checkpoint and all that a resume needs is there."""
    names = files(s3)
    kept = {name.split("/")[0] for name in names if name.endswith(f"/checkpoint_{SAVED - 1:06}")}
    states = ("experiment_state-", "search_gen_state-", DECISIONS_FILE)
    return len(kept) == len(PLAN) and all(any(n.startswith(s) for n in names) for s in states)


@pytest.mark.slow
def test_a_killed_study_in_s3_goes_on_from_there(
    ray_address: str, endpoint: str, undisturbed: dict[int, Course], tmp_path: Path
) -> None:
    s3 = filesystem(endpoint)
    s3.create_dir(BUCKET)
    hold = tmp_path / "hold"
    hold.touch()
    driver_of = [sys.executable, "-m", "tests.faults.s3_driver"]
    command = [*driver_of, ray_address, endpoint, BUCKET, str(hold)]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: far_enough(s3), "checkpoints of both", process=driver)
    finally:
        driver.kill()
        driver.wait()
    hold.unlink()
    before = decisions(s3, tmp_path / "before")
    assert before
    assert not any(name.endswith(f"/checkpoint_{EPOCHS - 1:06}") for name in files(s3))

    restored = tune.Tuner.restore(
        STUDY,
        tune.with_resources(descend, {"cpu": 1}),
        storage_filesystem=s3,
        resume_unfinished=True,
    )
    grid = restored.fit()

    assert not grid.errors
    assert sorted(result.config["seed"] for result in grid) == [0, 1]
    after = decisions(s3, tmp_path / "after")
    # What was lost with the driver was decided again, and as before.
    assert before <= after
    for result in grid:
        assert result.filesystem.type_name == "s3"
        assert_same_course(course(result), undisturbed[result.config["seed"]])
        name = result.path.rpartition("/")[2]
        assert f"{name}/result.json" in files(s3)
        assert f"{name}/checkpoint_{EPOCHS - 1:06}/{FILE}" in files(s3)
        assert max(step for trial, step, _ in after if trial in name) == EPOCHS * STEPS
