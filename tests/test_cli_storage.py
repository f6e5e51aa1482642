"""The command line on studies and experiments in object storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest

from tests.object_storage import CREDENTIALS, filesystem, serving, uri
from tests.records.test_experiments import TUNED, write_state, write_trial
from tests.test_cli import call


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving() as where:
        filesystem(where).create_dir("bucket")
        yield where


def upload(folder: Path, endpoint: str, path: str) -> Any:
    s3 = filesystem(endpoint)
    pyarrow.fs.copy_files(str(folder), path, destination_filesystem=s3)
    return s3


def test_report_of_an_experiment_goes_there_and_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    endpoint: str,
    tmp_path: Path,
) -> None:
    write_trial(tmp_path, "g", {"lr": 0.1, "momentum": 0.9, "gap": TUNED}, [3.0, 2.0])
    # Trials may be called what they like.
    write_trial(tmp_path, "checkpoint_ranks-", {"lr": 0.1, "momentum": 0.5}, [3.0, 1.0])
    write_state(tmp_path, {"g": "TERMINATED", "checkpoint_ranks-": "TERMINATED"})
    s3 = upload(tmp_path, endpoint, "bucket/mine")
    place = uri(endpoint, "bucket/mine")
    assert call(monkeypatch, "report", place, "--metric", "loss", "--mode", "min") == 0
    out = capsys.readouterr().out
    assert "s3://bucket/mine/report.html" in out
    assert "Of 2 trials" not in out
    with s3.open_input_stream("bucket/mine/report.html") as stream:
        page = stream.read().decode()
    for part in ("fixed:0.5", "gap-tune report", "s3://bucket/mine?endpoint_override="):
        assert part in page
    assert "/gap_tune-" not in page + out


def test_a_study_is_named_by_its_own_folder(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    endpoint: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"metric": "loss", "mode": "min", "arms": []}))
    upload(tmp_path, endpoint, "bucket/study/experiment")
    assert call(monkeypatch, "report", uri(endpoint, "bucket/study/experiment")) == 2
    expected = "must be named by the folder that holds its 'experiment'"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "resume"])
def test_a_place_without_a_study_is_one_line_that_names_the_place(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    endpoint: str,
    command: str,
) -> None:
    assert call(monkeypatch, command, uri(endpoint, "bucket/nothing")) == 2
    error = capsys.readouterr().err
    assert "s3://bucket/nothing must be the folder of a gap_tune study" in error
    assert error.count("\n") == 1
    assert "/gap_tune-" not in error
