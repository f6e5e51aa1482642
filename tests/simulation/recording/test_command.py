"""gap-tune simulate record: runs of one's own, packed, and studies simulated on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gap_tune.simulation.recorded import RecordedRuns
from tests.test_cli import call

SETTINGS = """
arms: [gap]
settings:
  - name: "tables, sgd"
    workload: logistic
    family: sgd
    batch_size: 64
    epochs: 2
"""


@pytest.mark.slow
def test_own_settings_are_recorded_once_and_simulated(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, out = tmp_path / "settings.yaml", tmp_path / "out"
    path.write_text(SETTINGS)
    options = ["--settings", str(path), "--lrs", "2", "--lr-span", "10", "--seeds", "2"]
    recorded = ["simulate", "record", *options, "--reports", "4", "--cpus", "2", "--out", str(out)]
    assert call(monkeypatch, *recorded, "--json") == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["kind"], document["tables"]["rows"]) == ("recording", 8 * 2 * 2 * 4)
    assert document["files"] == {"folder": str(out)}
    before = (out / "runs.parquet").read_bytes()

    # What is there is not trained again.
    assert call(monkeypatch, *recorded) == 0
    assert "32 of them done before" in " ".join(capfd.readouterr().out.split())
    assert (out / "runs.parquet").read_bytes() == before
    assert RecordedRuns.load(out)["tables, sgd"].reports == 4

    methods = ["--methods", "gap+random,sweep+random", "--repeats", "2", "--trials", "3"]
    simulated = ["--tables", str(out), "--cpus", "1", "--out", str(tmp_path / "page")]
    assert call(monkeypatch, "simulate", *methods, *simulated) == 0
    assert (tmp_path / "page" / "simulate.html").exists()
