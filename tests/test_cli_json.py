"""--json: one document on standard output, with what the packages themselves say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gap_tune
from gap_tune import __version__
from gap_tune.cli.document import plain_json
from gap_tune.records.records import Records
from gap_tune.records.studies import read_records
from gap_tune.report import summarise, verdict
from gap_tune.theory.families import THEORY_FAMILIES
from gap_tune.training.families.table import TRAINING_FAMILIES
from gap_tune.workloads import WORKLOADS
from tests.test_cli import STUDY, call


def read(capsys: pytest.CaptureFixture[Any], kind: str) -> tuple[dict[str, Any], str]:
    """Return the document that is all of standard output, and standard error."""
    captured = capsys.readouterr()
    document = json.loads(captured.out, parse_constant=pytest.fail)
    assert {key: document.pop(key) for key in ("version", "gap_tune", "kind")} == {
        "version": 1,
        "gap_tune": __version__,
        "kind": kind,
    }
    return document, captured.err


def test_lists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "workloads", "--json") == 0
    document, error = read(capsys, "workloads")
    assert [each["name"] for each in document["workloads"]] == list(WORKLOADS)
    assert set(document["workloads"][0]) == {"name", "task", "data", "needs"}
    assert call(monkeypatch, "families", "--json") == 0
    document, error = read(capsys, "families")
    assert error == ""
    names = [each["name"] for each in (*document["family"], *document["arms"])]
    assert sorted(names) == sorted(TRAINING_FAMILIES)
    assert [each["name"] for each in document["theory"]] == list(THEORY_FAMILIES)
    assert "torch.optim.SGD" in document["tuned"]


def test_dashboards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "dashboards", "--out", str(tmp_path), "--json") == 0
    document, _ = read(capsys, "dashboards")
    assert document == {"files": {"folder": str(tmp_path)}}


def test_a_study_and_its_report_say_what_the_package_says_of_its_records(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    out = tmp_path / "out"
    command = ["compare", str(tmp_path / "study.yaml"), "--seeds", "1", "--out", str(out), "--json"]
    assert call(monkeypatch, *command) == 0
    compared, error = read(capfd, "comparison")
    assert "gap seed 0: finished" in error
    records = read_records(out / "experiment")
    assert set(compared) == {"answer", "best", "metric", "mode", "arms", "files"}
    _check_best(compared["best"], out, records)
    answer = verdict(records)
    assert compared["answer"]["headline"] == answer.headline
    assert compared["answer"]["sentences"] == list(answer.sentences)
    # Of one seed there is no interval, and JSON has no NaN.
    assert compared["answer"]["difference"]["interval"] == [None, None]
    assert compared["answer"]["difference"]["by_seed"]["0"] == answer.difference.by_seed[0]
    assert (compared["metric"], compared["mode"]) == (records.metric, records.mode)
    for said, row in zip(compared["arms"], summarise(records).to_dict("records"), strict=True):
        assert set(said) == set(row)
        # All digits of every number.
        assert {k: v for k, v in said.items() if v is not None} == {
            k: v for k, v in row.items() if not (isinstance(v, float) and math.isnan(v))
        }
    assert all(Path(path).exists() for path in compared["files"].values())

    assert call(monkeypatch, "report", str(out), "--json") == 0
    reported, error = read(capfd, "comparison")
    assert reported == compared
    assert "experiment: " in error


def _check_best(said: dict[str, Any], out: Path, records: Records) -> None:
    """Check what is to be taken home, against what Ray wrote and the package says."""
    finals = {
        path.parent: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (out / "experiment").glob("*/result.json")
    }
    folder = min(finals, key=lambda folder: finals[folder][-1]["validation_loss"])
    reports = finals[folder]
    last, config = reports[-1], reports[-1]["config"]
    assert (said["trial_id"], said["arm"]) == (last["trial_id"], config["arm"])
    assert (said["metric"], said["value"], said["ended"]) == (
        "validation_loss",
        last["validation_loss"],
        True,
    )
    assert "config" not in said
    assert said["hyperparameters"]["batch_size"] == config["batch_size"]
    assert not {"lr", "momentum", "gap", "arm", "seed"} & set(said["hyperparameters"])
    assert said["momentum"]["start"] == reports[0]["gap/momentum"]
    assert said["momentum"]["last"] == last["gap/momentum"]
    assert said["learning_rate"]["set"] == config["lr"]
    rates = [report["gap/lr"] for report in reports]
    assert (said["learning_rate"]["low"], said["learning_rate"]["high"]) == (min(rates), max(rates))
    assert Path(said["checkpoint"]).parent == folder
    told = gap_tune.best(records)
    assert told.fixed_pair == tuple(said["fixed_pair"][n] for n in ("learning_rate", "momentum"))
    for name in ("code", "replay_code", "fixed_code", "fixing"):
        assert said[name] == getattr(told, name)


def test_a_study_whose_trials_all_fail_is_a_document_and_status_1(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    options = ["--arms", "gap,fixed:0.9", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path)]
    command = ["compare", "tests.workloads.failing:Failing", *options, "--progress", "json"]
    assert call(monkeypatch, *command, "--json") == 1
    document, error = read(capfd, "comparison")
    assert [arm["failed"] for arm in document["arms"]] == [1, 1]
    assert document["best"] is None
    assert '"event": "failed"' in error
    assert "gap-tune: error: all 2 trials failed" in error


def test_bad_input_leaves_standard_output_empty(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["report", "nowhere"], ["compare", "imagenet"], ["probe", "imagenet"]):
        assert call(monkeypatch, *command, "--json") == 2
        captured = capfd.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("gap-tune: error: ")


def test_probe(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "statistics.json"
    assert (
        call(monkeypatch, "probe", "quadratic", "--steps", "20", "--out", str(out), "--json") == 0
    )
    document, _ = read(capfd, "probe")
    assert document["steps"] == 20
    assert document["momentum"] in document["candidates"]
    assert len(document["gains"]) == len(document["candidates"])
    assert document["files"] == {"statistics": str(out)}
    assert document["explanation"]


@pytest.mark.slow
def test_a_panel(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["panel", "--quick", "--arms", "gap,fixed:0.9", "--skip-missing", "--json"]
    assert call(monkeypatch, *command, "--out", str(tmp_path)) == 0
    document, _ = read(capfd, "panel")
    assert [arm["arm"] for arm in document["arms"]] == ["gap", "fixed:0.9"]
    assert list(document["arms"][0]) == list(pd.read_csv(document["files"]["arms"]).columns)
    assert set(document["answer"]) == {"kind", "headline", "sentences"}


def test_what_others_print_is_not_in_the_document(tmp_path: Path) -> None:
    program = """
import subprocess, sys
from gap_tune.cli.document import document
with document("probe", wanted=True) as made:
    print("by print")
    subprocess.run(["echo", "by another process"], check=True)
    made["momentum"] = 0.1 + 0.2
print("after")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout.removesuffix("after\n"))
    assert document["momentum"] == 0.1 + 0.2
    assert "by print" in done.stderr
    assert "by another process" in done.stderr


def test_values_as_json_has_them() -> None:
    value = {
        "a": np.float32(0.5),
        "b": (np.int64(3), float("inf")),
        "c": {2, 1},
        "d": np.bool_(True),
    }
    assert plain_json(value) == {"a": 0.5, "b": [3, None], "c": [1, 2], "d": True}


_HELD = """
import ctypes, sys
held = sys.stdout
from gap_tune.cli.document import document
with document("probe", wanted=True) as made:
    print("from Python", file=held)
    ctypes.CDLL(None).puts(b"from C")
"""


def test_bug_what_others_have_buffered_is_not_beside_the_document() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        [sys.executable, "-c", _HELD], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(ran.stdout)["kind"] == "probe"
    assert {"from Python", "from C"} <= set(ran.stderr.splitlines())
