from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest
import torch

from gap_tune.errors import InvalidValueError
from gap_tune.workloads.cache import prepared, version_of


def prepare_slowly(log: Path) -> None:
    def make() -> dict[str, torch.Tensor]:
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.5)
        return {"x": torch.arange(3)}

    assert prepared("shared", {"v": 1}, make)["x"].tolist() == [0, 1, 2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAP_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_processes_that_start_together_prepare_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=prepare_slowly, args=(log,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "made\n"


def test_another_key_is_prepared_anew(folder: Path) -> None:
    made = [
        prepared("x", {"v": v}, lambda v=v: {"x": torch.tensor(v)})["x"].item() for v in (1, 2, 1)
    ]
    assert made == [1, 2, 1]
    assert len(list(folder.glob("*.pt"))) == 2


def test_what_fails_leaves_nothing_and_is_tried_again(folder: Path) -> None:
    def fail() -> dict[str, torch.Tensor]:
        raise InvalidValueError("no")

    with pytest.raises(InvalidValueError):
        prepared("x", {}, fail)
    assert not list(folder.glob("*.pt"))
    assert prepared("x", {}, lambda: {"x": torch.ones(1)})["x"].item() == 1.0


def test_a_changed_file_has_another_version(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    before = version_of([path])
    assert version_of([path]) == before
    path.write_text("ab")
    assert version_of([path]) != before


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAP_TUNE_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(InvalidValueError, match="named by GAP_TUNE_CACHE, but got"):
        prepared("x", {}, dict)
