"""The decision log on disks that fill up, in storage far away, after drivers that were killed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import pickle
import subprocess
import sys
import time
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
import pytest
from ray.tune.experiment import Trial

from gap_tune import Decision, Reason
from gap_tune.rules.recorded import RecordedDecision
from gap_tune.tune import read_decisions
from gap_tune.tune.scheduling import decision_log
from gap_tune.tune.scheduling.decision_log import DecisionLog
from tests.contracts.insides import StorageContext


def make_trial(storage: StorageContext | None) -> Trial:
    return Trial("__fake", stub=True, trial_id="t1", storage=storage, config={"momentum": 0.9})


def local(folder: Path) -> Trial:
    return make_trial(StorageContext(storage_path=str(folder), experiment_dir_name="run"))


def line(seq: int) -> RecordedDecision:
    decision = Decision(0.8, 0.9, Reason.BEST_GAIN, "Best.", (0.8, 0.9), (1.23456789, 1.0))
    result = {"gap/steps": 10 * seq}
    return decision_log.scheduled(make_trial(None), result, decision, seq=seq, dry_run=False)


def test_lines_are_on_disk_as_soon_as_they_are_written(tmp_path: Path) -> None:
    trial, log = local(tmp_path), DecisionLog()
    for seq in (1, 2):
        log.write(trial, line(seq))
        assert [d.seq for d in read_decisions(tmp_path / "run")] == list(range(1, seq + 1))
    (first, _) = (tmp_path / "run" / "decisions.jsonl").read_text().splitlines()
    data = json.loads(first)
    columns = "trial step seq old new candidates gains reason explanation mode dry_run time"
    assert " ".join(data) == columns
    assert data["gains"] == [1.23457, 1.0]


def test_after_a_kill_in_the_middle_of_a_line_the_next_line_is_whole(tmp_path: Path) -> None:
    trial = local(tmp_path)
    DecisionLog().write(trial, line(1))
    path = tmp_path / "run" / "decisions.jsonl"
    path.write_text(path.read_text() + line(2).to_json()[:40])
    # The log of the driver that goes on.
    DecisionLog().write(trial, line(2))
    assert [d.seq for d in read_decisions(path)] == [1, 2]


def test_what_an_earlier_session_uploaded_is_kept(ray_address: str, tmp_path: Path) -> None:
    remote = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    storage = StorageContext(
        storage_path="bucket", experiment_dir_name=tmp_path.name, storage_filesystem=remote
    )
    uploaded = tmp_path / "bucket" / tmp_path.name / "decisions.jsonl"
    uploaded.write_text(line(1).to_json() + "\n")
    log = DecisionLog()
    for seq in (2, 3):
        log.write(make_trial(storage), line(seq))
    # Ray uploads the staging folder; that the file there is whole is all that matters here.
    staged = Path(storage.experiment_driver_staging_path)
    assert [d.seq for d in read_decisions(staged)] == [1, 2, 3]


def test_a_folder_that_cannot_be_written_to_for_a_while_costs_one_warning_and_no_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial, log = local(tmp_path), DecisionLog()
    blocked = tmp_path / "run" / "decisions.jsonl"
    # A folder in the file's place: permissions do not stop the superuser.
    blocked.mkdir()
    with caplog.at_level(logging.WARNING):
        for seq in range(1, 100):
            log.write(trial, line(seq))
    (_,) = (r for r in caplog.records if "cannot be logged" in r.message)
    blocked.rmdir()
    log.flush(trial)
    assert [d.seq for d in read_decisions(tmp_path / "run")] == list(range(1, 100))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trial, log = local(tmp_path), DecisionLog()
    (tmp_path / "run" / "decisions.jsonl").symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        for seq in (1, 2):
            log.write(trial, line(seq))
    (warning,) = (r.message for r in caplog.records if "cannot be logged" in r.message)
    assert "No space left" in warning


def test_a_trial_without_storage_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    DecisionLog().write(make_trial(None), line(1))
    assert not caplog.records


def test_a_log_can_be_saved_with_the_scheduler(tmp_path: Path) -> None:
    log = DecisionLog()
    log.write(local(tmp_path), line(1))
    pickle.loads(pickle.dumps(log)).write(local(tmp_path), line(2))
    assert len(read_decisions(tmp_path / "run")) == 2


def test_the_file_is_closed_when_the_last_trial_that_writes_it_has_ended(tmp_path: Path) -> None:
    first, second, log = local(tmp_path), local(tmp_path), DecisionLog()
    second.trial_id = "t2"
    for trial in (first, second):
        log.write(trial, line(1))
    path = tmp_path / "run" / "decisions.jsonl"
    assert open_files().count(path) == 1
    log.close(first)
    assert open_files().count(path) == 1
    log.close(second)
    assert path not in open_files()
    # A trial that is tried again, say.
    log.write(first, line(2))
    assert len(path.read_text().splitlines()) == 3


def test_bug_a_file_that_cannot_be_closed_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(FileIO):
        def close(self) -> None:
            super().close()
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    whole = Path.open

    def opened(path: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
        # NFS says so only when it is closed.
        return Full(path, mode) if buffering == 0 else whole(path, mode, buffering, **options)

    trial, log = local(tmp_path), DecisionLog()
    path = tmp_path / "run" / "decisions.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        log.write(trial, line(1))
        assert open_files().count(path) == 1
        log.close(trial)
    assert "the last decisions may be missing" in caplog.text
    assert open_files().count(path) == 0
    log.write(trial, line(2))
    assert [d.seq for d in read_decisions(path)] == [1, 2]


def test_lines_go_to_a_file_that_was_put_in_the_place_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = itertools.count(step=60.0)
    clock = SimpleNamespace(monotonic=lambda: next(later), time=time.time)
    monkeypatch.setattr(decision_log, "time", clock)
    trial, log = local(tmp_path), DecisionLog()
    path = tmp_path / "run" / "decisions.jsonl"
    log.write(trial, line(1))
    path.unlink()
    log.write(trial, line(2))
    assert [d.seq for d in read_decisions(path)] == [2]
    assert open_files().count(path) == 1


def open_files() -> list[Path]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(link.readlink())
    return found


@pytest.mark.parametrize("value", [None, "x", float("nan"), 10**400, [1], {"a": 1}])
def test_an_error_line_can_hold_any_garbage(tmp_path: Path, value: Any) -> None:
    result = {"gap/seq": value, "gap/steps": value, "gap/momentum": value}
    recorded = decision_log.failed(make_trial(None), result, "Why.", dry_run=False)
    DecisionLog().write(local(tmp_path), recorded)
    (read,) = read_decisions(tmp_path / "run")
    assert (read.seq, read.step, read.old, read.new) == (None, None, None, None)
    assert (read.reason, read.explanation) == ("error", "Why.")


def test_reading_needs_no_ray(tmp_path: Path) -> None:
    DecisionLog().write(local(tmp_path), line(1))
    code = (
        "import sys\n"
        "sys.modules['ray'] = None\n"
        "from gap_tune.rules.recorded import read_decisions\n"
        f"assert len(read_decisions({str(tmp_path / 'run')!r})) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
