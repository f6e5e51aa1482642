"""A driver that is killed while it uploads an experiment leaves what can be gone on from."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs
import pytest

from gap_tune.tune.ray_private.storage.uploading import (
    Uploaded,
    upload_experiment,
    upload_file,
    upload_whole,
)
from tests.contracts.insides import StorageContext
from tests.patience import wait_for

# Reports of three trials, of some kB each, and a state that says how many there are: as Ray does,
# reports are written before the state, which is written while an upload may be going on.
DRIVER = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import pyarrow.fs
from ray.train._internal.storage import _FilesystemSyncer
from gap_tune.tune.ray_private.storage.uploading import upload_whole

syncer = _FilesystemSyncer(pyarrow.fs.LocalFileSystem())
manager = SimpleNamespace(_storage=SimpleNamespace(syncer=syncer))
assert upload_whole(SimpleNamespace(_checkpoint_manager=manager))
staging, stored = Path(sys.argv[1], "staging"), Path(sys.argv[1], "run")
staging.mkdir(parents=True)
text = "x" * 9_000
for count in range(1, 100_000):
    for name in "abc":
        (staging / name).mkdir(exist_ok=True)
        with (staging / name / "result.json").open("a") as file:
            file.write(json.dumps({"training_iteration": count, "text": text}) + "\\n")
    (staging / "experiment_state-1.json").write_text(json.dumps({"count": count, "text": text}))
    manager._storage.syncer.sync_up(str(staging), str(stored))
"""


def test_bug_a_driver_killed_during_an_upload_lost_reports_that_its_state_counts(
    tmp_path: Path,
) -> None:
    chance = random.Random(0)
    checked = 0
    for life in range(4):
        folder = tmp_path / str(life)
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)])
        state = folder / "run" / "experiment_state-1.json"
        try:
            wait_for(state.exists, "the first upload", process=driver)
            time.sleep(chance.uniform(0.0, 0.2))
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        count = json.loads(state.read_text())["count"]
        for name in "abc":
            rows = [json.loads(row) for row in (state.parent / name / "result.json").open()]
            assert rows[-1]["training_iteration"] >= count, f"{name} of life {life}"
        checked += count > 1
    assert checked >= 2, "the driver was always killed too early to tell"


def test_files_that_did_not_change_are_not_uploaded_again(tmp_path: Path) -> None:
    staging, stored = tmp_path / "staging", tmp_path / "stored"
    (staging / "trial").mkdir(parents=True)
    (staging / "trial" / "result.json").write_text("{}\n")
    fs, uploaded = pyarrow.fs.LocalFileSystem(), Uploaded()

    def upload() -> None:
        state = tmp_path / "state"
        state.mkdir()
        (state / "experiment_state-1.json").write_text("{}")
        upload_experiment(staging, fs, str(stored), state=state, uploaded=uploaded)
        assert not state.exists()

    upload()
    result = stored / "trial" / "result.json"
    assert result.read_text() == "{}\n"
    assert (stored / "experiment_state-1.json").read_text() == "{}"
    result.write_text("not ours\n")
    upload()
    assert result.read_text() == "not ours\n"
    (staging / "trial" / "result.json").write_text('{}\n{"half')
    upload()
    assert result.read_text() == "{}\n", "a row that is not whole yet was uploaded"
    assert sorted(path.name for path in stored.rglob("*") if path.is_file()) == [
        "experiment_state-1.json",
        "result.json",
    ]


def test_what_lies_deeper_in_a_trials_folder_is_uploaded_and_what_a_link_leads_to_is_not(
    tmp_path: Path,
) -> None:
    staging, stored, state = tmp_path / "staging", tmp_path / "stored", tmp_path / "state"
    for folder in (staging / "trial" / "a" / "b", tmp_path / "elsewhere", state):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.name)
    (staging / "linked").symlink_to(tmp_path / "elsewhere")
    (staging / "trial" / "linked").symlink_to(tmp_path / "elsewhere")
    uploaded = Uploaded()
    upload_experiment(
        staging, pyarrow.fs.LocalFileSystem(), str(stored), state=state, uploaded=uploaded
    )
    found = {str(p.relative_to(stored)): p.read_text() for p in stored.rglob("*") if p.is_file()}
    assert found == {"file": "state", "trial/a/b/file": "b"}
    assert uploaded.files.keys() == found.keys()


def test_bug_two_uploads_of_one_file_destroyed_each_other(tmp_path: Path) -> None:
    """Ray's thread uploads an experiment while the driver uploads a trial that starts again."""
    staging, stored = tmp_path / "staging", tmp_path / "stored"
    log, target = staging / "trial" / "result.json", stored / "trial" / "result.json"
    log.parent.mkdir(parents=True)
    fs = pyarrow.fs.LocalFileSystem()
    rows = "".join(f'{{"row": {n}, "text": "{"x" * 900}"}}\n' for n in range(500))
    log.write_text(rows)
    failed: list[Exception] = []

    def upload_all() -> None:
        for number in range(150):
            state = tmp_path / f"state-{number}"
            state.mkdir()
            try:
                upload_experiment(staging, fs, str(stored), state=state, uploaded=Uploaded())
            except Exception as error:
                failed.append(error)

    target.parent.mkdir(parents=True)
    thread = threading.Thread(target=upload_all)
    thread.start()
    while thread.is_alive():
        upload_file(log, fs, str(target))
        assert target.read_text() == rows
    thread.join()
    assert not failed


def test_storage_without_folders_is_uploaded_to_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    fs = pyarrow.fs._MockFileSystem()
    fs.create_dir("bucket")
    upload_file(tmp_path / "a.txt", fs, "bucket/a.txt")
    with fs.open_input_stream("bucket/a.txt") as stream:
        assert stream.read() == b"text"


def test_bug_copies_of_states_outlived_drivers_that_were_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Nobody reads from it, so that the driver's first upload does not end.
    (tmp_path / "driver" / "run" / "a").mkdir(parents=True)
    os.mkfifo(tmp_path / "driver" / "run" / "a" / "result.json.part")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "driver")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    copies = lambda: list(tmp_path.glob("gap_tune_state*/*.json"))  # noqa: E731
    try:
        wait_for(lambda: bool(copies()), "a copy of the state", process=driver)
        begin_uploading()
        assert copies(), "a copy was removed that its driver was about to upload"
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    begin_uploading()
    assert not list(tmp_path.glob("gap_tune_state*"))


def begin_uploading() -> None:
    syncer = SimpleNamespace(_sync_up_command=None)
    manager = SimpleNamespace(_storage=SimpleNamespace(syncer=syncer))
    assert upload_whole(SimpleNamespace(_checkpoint_manager=manager))


def test_a_controller_of_another_ray_is_left_alone() -> None:
    assert not upload_whole(SimpleNamespace())
    assert not upload_whole(SimpleNamespace(_checkpoint_manager=SimpleNamespace()))


def test_bug_the_experiments_paths_were_made_anew_in_each_turn_of_the_driver(
    tmp_path: Path,
) -> None:
    """Ray asks for them several times a result, and takes a twentieth of its time to answer."""

    class Counting(StorageContext):
        asked = 0

        @property
        def experiment_driver_staging_path(self) -> str:
            # Ray's own needs a running Ray.
            type(self).asked += 1
            return str(tmp_path / "staging" / self.experiment_dir_name)

        @property
        def experiment_fs_path(self) -> str:
            type(self).asked += 1
            return str(super().experiment_fs_path)

    storage = Counting(storage_path=str(tmp_path), experiment_dir_name="run")
    manager = SimpleNamespace(_storage=storage)
    assert upload_whole(SimpleNamespace(_checkpoint_manager=manager))
    Counting.asked = 0
    for _ in range(100):
        paths = manager._storage.experiment_driver_staging_path, manager._storage.experiment_fs_path
    assert Counting.asked == 2
    assert paths == (storage.experiment_driver_staging_path, storage.experiment_fs_path)
    # What changes from checkpoint to checkpoint is asked for each time.
    storage.current_checkpoint_index += 1
    assert manager._storage.current_checkpoint_index == storage.current_checkpoint_index
